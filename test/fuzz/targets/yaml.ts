import { ConfigError } from "../../../src/core/errors.ts";
import { parsePillarFile } from "../../../src/pillar/parse.ts";
import { parseYamlDocument } from "../../../src/sls/yaml.ts";
import { promise, promisePlain, type Target } from "../target.ts";

/** What must never show in an error about a file of secrets: four characters that no message has by itself. */
const MARK = "\u00a7\u00b6\u00a4\u00a5";

function assertSilent(act: () => unknown): void {
  try {
    act();
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    promise("an error about secrets does not quote them", !`${thrown.message}${thrown.hint}`.includes(MARK));
  }
}

export const target: Target = {
  covers: ["src/sls/yaml.ts", "src/sls/yaml-scalar.ts", "src/sls/located-error.ts", "src/pillar/parse.ts"],
  maxBytes: 2048,
  refusals: [ConfigError],
  dictionary: [
    "!secret ",
    "!generate",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "- ",
    ": ",
    "|\n  ",
    ">-\n",
    "%YAML 1.1\n",
    "---\n",
    "...\n",
    "'",
    '"',
    "\\x5f_proto__",
    "__proto__",
    "!!str ",
    "!!int ",
    "{",
    "}",
    "[",
    "]",
    "#",
    "\t",
    "\r\n",
    "\ufeff",
    "0x1f",
    "1e999",
    "~",
    MARK,
  ],
  seeds: () => [
    "a: 1\nb: [x, 'y', \"z\"]\nc: {d: ~, e: yes}\n",
    "base: &base {a: 1}\nmore:\n  <<: *base\n  b: 2\n",
    "text: |\n  line\n  line\nfold: >-\n  a\n  b\n",
    "password: !secret |\n  -----BEGIN AGE ENCRYPTED FILE-----\n",
    `key: !generate {bytes: 32}\nplain: ${MARK}\n`,
    "include:\n  - other\n  - base.more\n",
    "? a\n: b\n? - c\n: d\n",
    "%YAML 1.1\n---\na: 0x1f\nb: 0644\n...\n",
    "",
  ],
  decode: (bytes) => {
    const text = bytes.toString("utf8");
    assertSilent(() => {
      const file = parsePillarFile(text, "pillar.sls");
      promisePlain(file.data);
      promise(
        "included names are texts",
        file.include.every((name) => typeof name === "string"),
      );
    });
    const document = parseYamlDocument(text, "file.sls");
    promisePlain(document.value);
    for (const { start, valueStart, end, line } of document.scalars) {
      promise("a scalar lies in its text", start <= valueStart && valueStart <= end && end <= text.length && line >= 1);
    }
  },
};
