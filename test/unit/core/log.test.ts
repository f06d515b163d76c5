import { expect, test } from "vitest";
import { createLogger } from "../../../src/core/log.ts";

function line(write: (log: ReturnType<typeof createLogger>) => void): Record<string, unknown> {
  let text = "";
  const destination = {
    write: (part: string) => {
      text += part;
    },
  };
  write(createLogger("master", "info", destination));
  return JSON.parse(text) as Record<string, unknown>;
}

const NAMES = ["key", "secret", "password", "passphrase"];

test.each(NAMES)("lesson: 2021-25284 what is called %s is masked in a line, in its members and in errors", (name) => {
  const error = Object.assign(new Error("boom"), { [name]: "leak" });
  const logged = line((log) => {
    log.warn({ id: "web1", [name]: "leak", facts: { [name]: ["leak"], path: "disk" }, err: error }, "said");
  });
  expect(JSON.stringify(logged)).not.toContain("leak");
  expect(logged).toMatchObject({
    name: "master",
    msg: "said",
    id: "web1",
    [name]: "[secret]",
    facts: { [name]: "[secret]", path: "disk" },
    err: { message: "boom", [name]: "[secret]" },
  });
});

test.each(NAMES)("lesson: 2021-25284 an error that is the whole line is masked too: %s", (name) => {
  const logged = line((log) => {
    log.error(Object.assign(new Error("boom"), { [name]: "leak" }));
  });
  expect(JSON.stringify(logged)).not.toContain("leak");
  expect(logged).toMatchObject({ err: { message: "boom", [name]: "[secret]" } });
});

test("masking leaves what was given as it was", () => {
  const facts = { key: "mine", nested: { secret: "mine" } };
  line((log) => {
    log.info(facts, "said");
  });
  expect(facts).toEqual({ key: "mine", nested: { secret: "mine" } });
});

test("a line without such names is written as it is", () => {
  const facts = { id: "web1", count: 0, none: null, list: [{ a: 1 }] };
  expect(
    line((log) => {
      log.info(facts, "said");
    }),
  ).toMatchObject(facts);
});
