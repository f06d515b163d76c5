const SECRET_WORD = /pass(?:word|phrase|wd)?|secret|token|credential|api-?key/iu;
const ASSIGNED =
  /((?:pass(?:word|phrase|wd)?|secret|token|credential|api-?key)[\w-]*\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)/giu;
const MASK = "[masked]";
const MAX_ARGUMENT = 1000;

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
