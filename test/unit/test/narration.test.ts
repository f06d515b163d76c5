import { expect, test, vi } from "vitest";
import { Narration } from "../../../lab/narration.ts";

test("without a terminal a long step prints a line for each thing that it is at, with the time", async () => {
  let text = "";
  const out = { isTTY: false, columns: 80, write: (piece: string) => (text += piece) } as object;
  const narration = new Narration(out as NodeJS.WriteStream);
  await narration.step("packages, root file system, network", async () => {
    narration.stage("mmdebstrap fetches Debian");
    narration.detail("not a line of its own");
    narration.stage("mke2fs writes the image");
    return Promise.resolve();
  });
  expect(text.split("\n")).toEqual([
    "… packages, root file system, network",
    expect.stringMatching(/^ {2}mmdebstrap fetches Debian {2}\(after \d+\.\d s\)$/u),
    expect.stringMatching(/^ {2}mke2fs writes the image {2}\(after \d+\.\d s\)$/u),
    expect.stringMatching(/^✔ packages, root file system, network {2}\d+\.\d s$/u),
    "",
  ]);
});

test("on a terminal it is on the live line, with how long it has taken", async () => {
  vi.stubEnv("CI", undefined);
  vi.stubEnv("TERM", "xterm");
  let text = "";
  const drawn = Promise.withResolvers<void>();
  const write = (piece: string) => {
    text += piece;
    if (piece.includes("mmdebstrap")) drawn.resolve();
  };
  const narration = new Narration({ isTTY: true, columns: 80, write } as object as NodeJS.WriteStream);
  await narration.step("image", async () => {
    narration.stage("mmdebstrap fetches Debian");
    await drawn.promise;
  });
  vi.unstubAllEnvs();
  expect(text).toMatch(/image {2}\d+\.\d s.*mmdebstrap fetches Debian {2}\d+\.\d s/u);
});
