import { expect, test } from "vitest";
import { rememberedTexts } from "../../../src/core/remembered.ts";

test("what was made of a text is kept, that of the text asked for longest ago goes first", () => {
  const made: string[] = [];
  const length = rememberedTexts((text) => {
    made.push(text);
    return text.length;
  }, 10);
  for (const text of ["aaaa", "bbbb", "aaaa", "cccc", "aaaa", "bbbb"]) expect(length(text)).toBe(4);
  expect(made).toEqual(["aaaa", "bbbb", "cccc", "bbbb"]);
});

test("a text that is too long for all of it is made anew each time, and what throws is not kept", () => {
  const made: string[] = [];
  const failing = rememberedTexts((text) => {
    made.push(text);
    if (text === "bad") throw new Error("bad");
    return text;
  }, 10);
  for (const text of ["bad", "bad"]) expect(() => failing(text)).toThrow("bad");
  for (const text of ["x".repeat(11), "x".repeat(11), "", ""]) failing(text);
  expect(made).toEqual(["bad", "bad", "x".repeat(11), "x".repeat(11), ""]);
});
