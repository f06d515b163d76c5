import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseLuks2Copy, readLuksHeader } from "../../../../src/states/devices/luks-header.ts";
import { headerFault } from "../../../../src/states/devices/luks-layout.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const SIZE = 0x4000;
const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";

/** One header copy, byte for byte as the LUKS2 On-Disk Format Specification 1.1 lays it out. */
function copy(at: 0 | 0x4000, sequence: number, uuid = UUID): Buffer {
  const bytes = Buffer.alloc(SIZE);
  bytes.write(at === 0 ? "LUKS" : "SKUL", 0, "latin1");
  bytes.writeUInt16BE(0xbabe, 4);
  bytes.writeUInt16BE(2, 6);
  bytes.writeBigUInt64BE(BigInt(SIZE), 8);
  bytes.writeBigUInt64BE(BigInt(sequence), 16);
  bytes.write("data", 24);
  bytes.write("sha256", 72);
  bytes.write(uuid, 168);
  bytes.writeBigUInt64BE(BigInt(at), 256);
  bytes.write(JSON.stringify({ keyslots: {} }), 4096);
  createHash("sha256").update(bytes).digest().copy(bytes, 448);
  return bytes;
}

const device = (first: Buffer, second: Buffer): FakeHost =>
  new FakeHost().file("/dev/x", Buffer.concat([first, second, Buffer.alloc(SIZE)]));

test("the later of two sound copies counts", async () => {
  expect(await readLuksHeader(device(copy(0, 3), copy(0x4000, 3)), "/dev/x")).toEqual({
    kind: "valid",
    header: {
      version: 2,
      uuid: UUID,
      label: "data",
      sequence: 3,
      metadata: { keyslots: {} },
      atStart: true,
      other: { keyslots: {} },
    },
  });
  const finding = await readLuksHeader(device(copy(0, 3), copy(0x4000, 4)), "/dev/x");
  expect(finding).toMatchObject({ header: { sequence: 4, atStart: true } });
});

test("one sound copy is enough; none is a damaged header; no trace is none", async () => {
  const torn = copy(0, 9);
  torn[5000] = 1;
  const tornSecond = copy(0x4000, 9);
  tornSecond[5000] = 1;
  const nothing = Buffer.alloc(SIZE);
  expect(await readLuksHeader(device(torn, copy(0x4000, 3)), "/dev/x")).toMatchObject({ header: { sequence: 3 } });
  expect(await readLuksHeader(device(nothing, copy(0x4000, 3)), "/dev/x")).toMatchObject({
    header: { atStart: false },
  });
  expect(await readLuksHeader(device(copy(0, 3), tornSecond), "/dev/x")).toMatchObject({ header: { sequence: 3 } });
  expect(await readLuksHeader(device(torn, tornSecond), "/dev/x")).toEqual({ kind: "damaged" });
  expect(await readLuksHeader(device(nothing, nothing), "/dev/x")).toEqual({ kind: "none" });
  expect(await readLuksHeader(new FakeHost(), "/dev/x")).toEqual({ kind: "none" });
});

test("a LUKS1 header is recognised", async () => {
  const bytes = Buffer.alloc(SIZE);
  bytes.write("LUKS\xba\xbe\0\x01", 0, "latin1");
  bytes.write(UUID, 168);
  expect(await readLuksHeader(device(bytes, Buffer.alloc(SIZE)), "/dev/x")).toMatchObject({
    header: { version: 1, uuid: UUID },
  });
});

test("a changed byte anywhere in a copy is never a sound header of something else", () => {
  const flipped = fc.property(fc.nat(SIZE - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
    const bytes = copy(0, 3);
    bytes[at] = (bytes[at] ?? 0) ^ flip;
    // bytes 480 to 511 pad the checksum's field
    return (at >= 480 && at < 512) || parseLuks2Copy(bytes, "primary", 0) === undefined;
  });
  expect(() => fc.assert(flipped, { numRuns: 200 })).not.toThrow();
});

/** A copy of the metadata as it stands, with a checksum that is right where the hash is one that Node knows. */
function strange(at: 0 | 0x4000, json: string, algorithm = "sha256", sequence = 9n): Buffer {
  const bytes = copy(at, 3);
  bytes.writeBigUInt64BE(sequence, 16);
  bytes.fill(0, 72, 104);
  bytes.write(algorithm, 72);
  bytes.fill(0, 4096);
  bytes.write(json, 4096);
  bytes.fill(0, 448, 512);
  createHash(algorithm).update(bytes).digest().copy(bytes, 448);
  return bytes;
}

const PLAIN = '"segments":{"0":{"encryption":"cipher_null-ecb"}}';

test.each([
  ["a hash that we do not take", strange(0x4000, `{${PLAIN}}`, "sha3-256")],
  ["a hash of ours in other letters", strange(0x4000, `{${PLAIN}}`, "SHA256")],
  ["a shorter hash", strange(0x4000, `{${PLAIN}}`, "sha224")],
  ["a comment", strange(0x4000, `{/**/${PLAIN}}`)],
  ["single quotes", strange(0x4000, `{${PLAIN.replaceAll('"', "'")}}`)],
  ["a raw tab", strange(0x4000, `{${PLAIN},"a":"\t"}`)],
  ["a name with a NUL", strange(0x4000, `{${PLAIN.replace("segments", String.raw`segments\u0000`)}}`)],
  ["more levels than a header has", strange(0x4000, `{"a":${"[".repeat(20)}${"]".repeat(20)}}`)],
])("a second copy with %s may be what cryptsetup reads: the header has a fault", async (_, second) => {
  const finding = await readLuksHeader(device(copy(0, 3), second), "/dev/x");
  expect(finding).toMatchObject({ kind: "valid", header: { sequence: 3, unread: true } });
  expect(finding.kind === "valid" && headerFault(finding.header)).toContain("cryptsetup may read");
});

test("a first copy that we do not read is a fault as well; one that is torn is none, as for cryptsetup", async () => {
  const lenient = strange(0, `{${PLAIN.replaceAll('"', "'")}}`);
  expect(await readLuksHeader(device(lenient, copy(0x4000, 3)), "/dev/x")).toMatchObject({ header: { unread: true } });
  expect(await readLuksHeader(device(lenient, Buffer.alloc(SIZE)), "/dev/x")).toEqual({ kind: "damaged" });
  const torn = strange(0x4000, `{${PLAIN}}`);
  torn[5000] = 1;
  expect(await readLuksHeader(device(copy(0, 3), torn), "/dev/x")).not.toHaveProperty("header.unread");
});

test("the later copy is told by all 64 bits of its number", async () => {
  const [low, high] = [
    strange(0, '{"a":1}', "sha256", 2n ** 53n),
    strange(0x4000, '{"b":1}', "sha256", 2n ** 53n + 1n),
  ];
  expect(await readLuksHeader(device(low, high), "/dev/x")).toMatchObject({ header: { metadata: { b: 1 } } });
});
