const SECRET_WORD = /pass(?:word|phrase|wd)?|secret|token|credential|api-?key/iu;
const ASSIGNED =
  /((?:pass(?:word|phrase|wd)?|secret|token|credential|api-?key)[\w-]*\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)/giu;
const MASK = "[masked]";
const MAX_ARGUMENT = 1000;
/** Longest piece of a script that an error repeats. */
const MAX_NAME = 120;

/**
 * The argument array as errors and logs may show it: values of options and assignments whose name says password, secret,
 * token or credential are replaced by `[masked]`, long arguments are cut.
 */
export function maskArgv(argv: readonly string[]): readonly string[] {
  return argv.map((argument, index) => {
    const before = argv[index - 1];
    if (before !== undefined && /^--?[\w-]+$/u.test(before) && SECRET_WORD.test(before)) return MASK;
    return argument.replaceAll(ASSIGNED, `$1${MASK}`).slice(0, MAX_ARGUMENT);
  });
}

/** What an error calls a command: its program, or the first line of what a shell was given. For an array as `maskArgv` gives it. */
export function commandName([program = "", option, script = ""]: readonly string[]): string {
  if (option !== "-c") return program;
  const line = script.split("\n").find((text) => text.trim() !== "" && text !== "exec 2>&1") ?? program;
  return line.length > MAX_NAME ? `${line.slice(0, MAX_NAME)}…` : line;
}
