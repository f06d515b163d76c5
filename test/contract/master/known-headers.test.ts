import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import type { LeaseList } from "../../../src/core/control-api.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import type { LeasePurpose } from "../../../src/core/lease-purpose.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { createLogger } from "../../../src/core/log.ts";
import type { HeaderAccepted } from "../../../src/core/volume-header.ts";
import { createHost } from "../../../src/minion/host.ts";
import { createLeases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { escrowHeader } from "../../../src/minion/volume/header.ts";
import type { LeaseSubject } from "../../../src/states/state.ts";
import { setAt } from "../../fakes/luks-metadata.ts";
import { doctored } from "../../kernel/support/doctored-header.ts";
import { StateRun } from "../../kernel/support/state-run.ts";
import { volumeContext, volumeOf } from "../../kernel/support/volume-context.ts";
import { lacks } from "../../tools.ts";
import { startMinion, type TestMinion } from "../wire/pair.ts";
import { portsOf, type Rig, rig, scratch } from "./rig.ts";

const PATH = "volumes:data:luks:key";
const UUID = "0d2a7a5e-0000-4000-8000-000000000001";
let directory: string;
let remove: () => void;
let ending: (() => Promise<unknown>)[];
let image: string;

beforeEach(() => {
  ({ directory, remove } = scratch());
  ending = [];
  for (const name of ["pillar/hosts", "states"]) mkdirSync(join(directory, name), { recursive: true });
  image = join(directory, "image");
  const pillar = `volumes:\n  data:\n    disk: ${image}\n    luks:\n      key: !generate\n`;
  writeFileSync(join(directory, "pillar/hosts/web1.yaml"), pillar);
});
afterEach(async () => {
  for (const end of ending.toReversed()) await end();
  remove();
});

interface Pair {
  readonly one: Rig;
  readonly minion: TestMinion;
}

async function up(identity = generateIdentity()): Promise<Pair> {
  const one = await rig(directory, {}, { auto_accept: true });
  ending.push(async () => one.stop());
  const minion = startMinion(portsOf(one), { id: "web1", identity, fingerprints: [one.master.fingerprint] });
  ending.push(async () => minion.connection.close());
  await minion.connection.ready(AbortSignal.timeout(60_000));
  return { one, minion };
}

/** A lease as the minion's own runs take it, its header read from the image; resolves when its receipt is at the master. */
async function lease({ minion }: Pair, purpose: LeasePurpose, more: Partial<LeaseSubject> = {}): Promise<Buffer> {
  const { connection, identity } = minion;
  const leases = createLeases({
    host: createHost(),
    link: createLink(connection, systemClock, () => 0.5),
    identity,
    bootId: "b",
    clock: systemClock,
    log: createLogger("test", "silent"),
    random: () => 0.5,
    waitMs: 20_000,
    signal: new AbortController().signal,
    onWait: () => {},
    onLostReceipt: (_receipt, error) => {
      throw error;
    },
  });
  const subject = { device: image, ...more };
  const key = await leases.lease(`secret:${PATH}`, purpose, subject, async ({ secret }) =>
    Buffer.from(secret.expose()),
  );
  await leases.settle();
  return key;
}

/** An image with a header that the master's key opens; headers need no device-mapper. */
async function format(pair: Pair): Promise<void> {
  const key = await lease(pair, "format", { luksUuid: UUID });
  writeFileSync(image, "");
  truncateSync(image, 8 * 1024 * 1024);
  const fixed = ["--type=luks2", "--batch-mode", "--luks2-keyslots-size=1m", "--key-file=-", `--uuid=${UUID}`];
  const kdf = ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000"];
  execFileSync("cryptsetup", ["luksFormat", ...fixed, ...kdf, image], {
    input: key,
    stdio: ["pipe", "ignore", "ignore"],
  });
  key.fill(0);
}

/** The header goes to the master although it is not the one that it knows. */
async function storeUnasked({ minion: { connection } }: Pair): Promise<void> {
  const bytes = readFileSync(image).subarray(0, 1_081_344);
  const digest = createHash("sha256").update(bytes).digest("hex");
  const disk = { serial: "", bytes: 0, pvUuids: [] };
  const about = { volume: "data", reason: "operator", luksUuid: UUID, volumeKey: "0".repeat(16) } as const;
  const facts = { ...about, digest, bytes: bytes.length, device: image, deviceBytes: 0, disk, slots: [] };
  const offered = await connection.request("header.offer", { facts });
  if (offered.verdict === "known") throw new Error("it is known");
  for (let offset = 0; offset < bytes.length; offset += 512 * 1024) {
    const data = Uint8Array.from(bytes.subarray(offset, offset + 512 * 1024));
    await connection.request("header.chunk", { upload: offered.upload, offset, data });
  }
  await connection.request("header.store", { upload: offered.upload });
}

const doctor = (place: string, value: unknown) => {
  const before = readFileSync(image);
  writeFileSync(
    image,
    doctored(before, (metadata: JsonObject) => setAt(metadata, place, value)),
  );
  return () => writeFileSync(image, before);
};
const refusals = async ({ one }: Pair) => {
  const { leases } = await one.client.request<LeaseList>("GET", "/v1/leases");
  return leases.filter(({ verdict }) => verdict === "deny").flatMap(({ reasons }) => reasons);
};

describe.skipIf(lacks("cryptsetup"))("a header that is not the volume's", () => {
  test("gets no key and says what differs, on the host and in the record; also after the master started anew", async () => {
    const first = await up();
    await format(first);
    (await lease(first, "open")).fill(0);
    doctor("segments.0.offset", "4194304");
    const says = 'segments.0.offset is "4194304", on record "2097152"';
    for (const purpose of ["open", "check", "rotate", "recovery", "grow", "format"] as const) {
      await expect(lease(first, purpose)).rejects.toMatchObject({
        code: "header-differs",
        message: expect.stringContaining(says),
      });
    }
    expect(await refusals(first)).toContainEqual({ code: "header-differs", text: expect.stringContaining(says) });
    await first.minion.connection.close();
    await first.one.stop();
    const again = await up(first.minion.identity);
    await expect(lease(again, "open")).rejects.toMatchObject({ code: "header-differs" });
  });

  test("never leaves its host when no volume may have it: the request is not even sent", async () => {
    const pair = await up();
    await format(pair);
    doctor("segments.0.encryption", "cipher_null-ecb");
    await expect(lease(pair, "open")).rejects.toMatchObject({
      code: "unsafe-header",
      message: expect.stringContaining('segments.0.encryption "cipher_null-ecb" does not encrypt'),
    });
    expect(await refusals(pair)).toEqual([]);
  });

  test("does not go into escrow, and an operator can take it as it is", async () => {
    const pair = await up();
    await format(pair);
    const { connection, identity } = pair.minion;
    const run = new StateRun(createHost(), directory);
    const link = createLink(connection, systemClock, () => 0.5);
    const volume = volumeOf("data", { disk: image, luks: { key: `secret:${PATH}` } });
    const context = volumeContext(run, volume, directory, { master: { link, identity, bootId: "b" } });
    await escrowHeader(context, "provision");
    // known from escrow alone: it was never opened
    doctor("config.flags", ["allow-discards"]);
    await expect(lease(pair, "open")).rejects.toMatchObject({ code: "header-differs" });
    await expect(escrowHeader(context, "operator")).rejects.toMatchObject({ code: "header-differs" });
    // a host that does not compare is not believed either
    await expect(storeUnasked(pair)).rejects.toMatchObject({ code: "master-failed" });
    const accepted = await pair.one.client.request<HeaderAccepted>("POST", "/v1/headers/accept", {
      id: "web1",
      volume: "data",
    });
    expect(accepted).toEqual({ id: "web1", volume: "data" });
    (await lease(pair, "open")).fill(0);
    expect(await escrowHeader(context, "operator")).toMatchObject({ isNew: true });
    await expect(
      pair.one.client.request("POST", "/v1/headers/accept", { id: "web1", volume: "other" }),
    ).rejects.toMatchObject({ code: "no-volume" });
  });
});
