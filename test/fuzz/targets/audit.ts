import { createHash } from "node:crypto";
import { ProtocolError } from "../../../src/core/errors.ts";
import { chainRecord, EMPTY_CHAIN, signChain } from "../../../src/core/audit/chain.ts";
import { verifyExport } from "../../../src/core/audit/verify.ts";
import { signingKeyFromSeed } from "../../../src/core/crypto/ed25519.ts";
import { fingerprint } from "../../../src/core/identity.ts";
import { decodeHead, decodeStored } from "../../../src/master/audit/stored.ts";
import { promise, type Target } from "../target.ts";

// nobody's key: it signs what this file makes, and nothing else
const key = signingKeyFromSeed(createHash("sha256").update("fuzz audit").digest());
const MASTER = Buffer.concat([key.publicKey, Buffer.alloc(32)]).toString("hex");
const MASTER_NAME = fingerprint({ signKey: key.publicKey, dhKey: Buffer.alloc(32) });
const first = chainRecord(EMPTY_CHAIN, {
  at: 1,
  kind: "master-start",
  actor: "master",
  subject: "",
  from: "",
  data: {},
} as never);
const second = chainRecord(first, {
  at: 2,
  kind: "lease",
  actor: "web1",
  subject: "web1",
  from: "::1",
  data: { a: [1] },
} as never);
const sign = (message: Uint8Array) => key.sign(message);
const lines = [
  { type: "audit", version: 1, master: MASTER, head: EMPTY_CHAIN },
  { type: "record", record: first },
  { type: "record", record: second },
  { type: "checkpoint", checkpoint: signChain("checkpoint", second, 2, sign) },
  { type: "end", checkpoint: signChain("end", second, 3, sign) },
];
const text = (some: readonly unknown[]) => some.map((line) => JSON.stringify(line)).join("\n");

export const target: Target = {
  covers: [
    "src/core/audit/verify.ts",
    "src/core/audit/chain.ts",
    "src/core/canonical-json.ts",
    "src/master/audit/stored.ts",
  ],
  maxBytes: 8192,
  refusals: [ProtocolError],
  dictionary: [
    '{"type":"damaged","what":"record","seq":1}',
    "[[[[[[[[",
    "{}",
    "null",
    "1e999",
    "__proto__",
    "\\u0000",
    "\\ud800",
  ],
  seeds: () => [
    text(lines),
    text(lines.toSpliced(2, 1)),
    text(lines.slice(0, 3)),
    text([...lines.slice(0, 2), { type: "damaged", what: "record", seq: 2 }, ...lines.slice(3)]),
    JSON.stringify(lines[3]?.checkpoint),
  ],
  decode: (bytes) => {
    const { faults, records, head } = verifyExport(bytes.toString("utf8").split("\n"), MASTER_NAME);
    promise("what is counted is whole", Number.isSafeInteger(records) && Number.isSafeInteger(head.seq));
    promise(
      "faults are texts",
      faults.every((fault) => typeof fault === "string"),
    );
    const entry = { key: "audit/head", value: bytes };
    decodeHead(entry);
    decodeStored(entry);
  },
};
