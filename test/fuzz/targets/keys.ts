import { assertAgeRecipient, newestOfFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { decodeBech32, encodeBech32 } from "../../../src/core/bech32.ts";
import { ConfigError, ProtocolError } from "../../../src/core/errors.ts";
import { readPublicKeyLine } from "../../../src/core/operator-key.ts";
import { Secret } from "../../../src/core/secret.ts";
import { targetMatcher } from "../../../src/sls/target.ts";
import { promise, type Target } from "../target.ts";

const RECIPIENT = encodeBech32("age", Buffer.alloc(32, 9)).toString("latin1");
// nobody's key
const IDENTITY = encodeBech32("age-secret-key-", Buffer.alloc(32, 7)).toString("latin1").toUpperCase();
const KINDS = ["glob", "list", "grain", "pillar", "compound"] as const;

function refused(act: () => unknown): void {
  try {
    act();
  } catch (thrown) {
    if (!(thrown instanceof ConfigError) && !(thrown instanceof ProtocolError)) throw thrown;
  }
}

export const target: Target = {
  covers: ["src/core/bech32.ts", "src/core/age-identity.ts", "src/sls/target.ts", "src/sls/glob.ts"],
  maxBytes: 1024,
  refusals: [],
  dictionary: [
    "age1",
    "AGE-SECRET-KEY-1",
    "# public key: ",
    "\r\n",
    "and ",
    "or ",
    "not ",
    "G@os:",
    "L@",
    "I@",
    "(",
    ")",
    "*",
    "[!a-z]",
    "?",
  ],
  seeds: () => [
    RECIPIENT,
    `# created\n${IDENTITY}\n`,
    `${IDENTITY}\r\n${IDENTITY}`,
    `latchkey-operator-ed25519 ${"A".repeat(43)}= ann`,
    "G@os:Deb* and not (web[1-3] or L@a,b)",
    "os:Debian",
    "w*b?[!x]",
  ],
  decode: (bytes) => {
    const text = bytes.toString("utf8");
    refused(() => {
      const data = decodeBech32("age", bytes);
      promise("a key has one text", encodeBech32("age", data).toString("latin1") === text.toLowerCase());
    });
    if (!text.startsWith("AGE-")) refused(() => assertAgeRecipient(text));
    refused(() => readPublicKeyLine(text));
    refused(() => {
      using content = Secret.take(Buffer.from(bytes));
      try {
        parseAgeIdentityFile(content, "file");
      } catch (thrown) {
        const message = thrown instanceof Error ? thrown.message : "";
        promise("an error does not quote an identity", !/age-secret-key-1\w/iu.test(message));
        throw thrown;
      }
      newestOfFile(content)[Symbol.dispose]();
    });
    for (const kind of KINDS) {
      refused(() =>
        targetMatcher(kind, text)({ id: "web1", grains: { os: "Debian", a: [{ b: "c" }] }, pillar: { x: 1 } }),
      );
    }
  },
};
