import type { Command } from "commander";
import { expect, test } from "vitest";
import { EXAMPLES } from "../../../src/cli/examples.ts";
import { createProgram, type ProgramOptions } from "../../../src/cli/program.ts";

const signal = new AbortController().signal;
let printed = "";
const terminal = { print: (text: string) => (printed += text), warn: () => {}, columns: () => 100, env: {} };
const program = createProgram({ version: "1", rooms: {}, terminal, signal } as unknown as ProgramOptions, () => {});

interface Walked {
  readonly words: string;
  readonly command: Command;
}
const walk = (command: Command, words: readonly string[]): readonly Walked[] => [
  { words: words.join(" "), command },
  ...command.commands.flatMap((below) => walk(below, [...words, below.name()])),
];
const all = walk(program, []);

function helpOf(command: Command): string {
  printed = "";
  command.outputHelp();
  return printed;
}

/** The words after `latchkey` on each line of a help text that shows how to call it. */
const callsIn = (help: string) =>
  [...help.matchAll(/^ {2}(?!.* {3,}latchkey).*?(?<![\w/.])latchkey (?=[a-z])(.*)$/gmu)].map(
    ([, call = ""]) => call.split(/ {3,}| \| /u)[0] ?? "",
  );

test.each(all.map(({ words, command }) => [words || "latchkey", command] as const))(
  "the help of %s has an example of it",
  (words, command) => {
    const name = words === "latchkey" ? "" : words;
    const calls = callsIn(helpOf(command));
    expect(calls.filter((call) => `${call} `.startsWith(name === "" ? "" : `${name} `))).not.toEqual([]);
  },
);

test("every example names a command that exists, with options that it has", () => {
  const wrong = all.flatMap(({ command }) =>
    callsIn(helpOf(command)).filter((call) => {
      const best = all.findLast(({ words }) => words !== "" && `${call} `.startsWith(`${words} `));
      const known = best?.command.options.flatMap(({ long, short }) => [long, short]) ?? [];
      const used = call.split(" ").filter((word) => /^--?[a-zA-Z]/u.test(word));
      return best === undefined || used.some((option) => !known.includes(option.split("=")[0] ?? ""));
    }),
  );
  expect(wrong).toEqual([]);
});

test("no example is of a command that is not there", () => {
  const names = new Set(all.map(({ words }) => words));
  expect(Object.keys(EXAMPLES).filter((words) => !names.has(words))).toEqual([]);
});
