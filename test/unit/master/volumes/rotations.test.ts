import * as fc from "fast-check";
import { expect, test } from "vitest";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../../src/core/age-identity.ts";
import { Secret } from "../../../../src/core/secret.ts";
import { EventBus } from "../../../../src/master/events.ts";
import { VolumeGuard } from "../../../../src/master/volumes/guard.ts";
import { openSecrets, type Secrets } from "../../../../src/master/secrets.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { type RotationPoint, Rotations } from "../../../../src/master/volumes/rotations.ts";
import type { CompiledPillar } from "../../../../src/pillar/compile.ts";
import type { SecretNode } from "../../../../src/pillar/secret-node.ts";
import { signRotation } from "../../../../src/wire/rotation-signature.ts";
import type { Request, Response } from "../../../../src/wire/messages.ts";
import { FakeSession, HandClock, openAudit, quiet, recordsOf } from "../fakes.ts";

const PATH = "volumes:data:luks:key";
const NODE: SecretNode = { kind: "generate", file: "web1.yaml", line: 3 };
const UUID = "0f6e2c4a-9d1b-4a53-8f0e-0123456789ab";
const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");

type Step = Omit<Request<"volume.rotation">, "signature">;
type Event = Step["event"];

const pillarWith = (node: SecretNode): CompiledPillar => ({
  pillar: { volumes: { data: { disk: "/dev/vdb", luks: { key: `secret:${PATH}` } } } },
  secrets: new Map([[PATH, node]]),
});

/** In place of SIGKILL: nothing of the dead master's memory is used afterwards. */
class Died extends Error {}

/** A master's side of rotations over a store in memory, started again whenever it died. */
class Side {
  readonly clock = new HandClock();
  readonly store = new MemoryStore(this.clock);
  readonly session = new FakeSession("web1");
  node = NODE;
  dieAt: RotationPoint | undefined;
  #rooms: { readonly secrets: Secrets; readonly rotations: Rotations } | undefined;

  async rooms() {
    if (this.#rooms) return this.#rooms;
    const { store, clock } = this;
    const secrets = openSecrets({ store, identity, recoveryRecipients: [], clock });
    const rotations = new Rotations({
      store,
      audit: await openAudit(store, clock),
      versions: secrets.versions,
      compile: async () => pillarWith(this.node),
      events: new EventBus(clock),
      log: quiet,
      clock,
      reached: (point) => {
        if (point !== this.dieAt) return;
        this.dieAt = undefined;
        throw new Died();
      },
    });
    this.#rooms = { secrets, rotations };
    return this.#rooms;
  }

  async step(event: Event, more: Partial<Step> = {}): Promise<Response<"volume.rotation">> {
    const unsigned: Step = {
      event,
      volume: "data",
      path: PATH,
      device: "/dev/vdb",
      luksUuid: UUID,
      from: 0,
      to: 0,
      slot: -1,
      keepOld: false,
      ...more,
    };
    const { rotations } = await this.rooms();
    try {
      return await rotations.step(
        this.session,
        signRotation(unsigned, this.session.identity, this.session.handshakeHash),
      );
    } catch (error) {
      if (error instanceof Died) this.restart();
      throw error;
    }
  }

  restart(): void {
    this.#rooms?.secrets[Symbol.dispose]();
    this.#rooms = undefined;
  }

  /** The version that a boot would get; 0 for none. */
  async current(): Promise<number> {
    const { secrets } = await this.rooms();
    const resolved = await secrets.resolveSecret("web1", pillarWith(this.node), PATH, "open");
    resolved?.secret.wipe();
    return resolved?.version ?? 0;
  }

  async format(): Promise<void> {
    const { secrets } = await this.rooms();
    (await secrets.resolveSecret("web1", pillarWith(this.node), PATH, "format"))?.secret.wipe();
  }
}

async function formatted(): Promise<Side> {
  const side = new Side();
  await side.format();
  return side;
}

test("I1: a begun rotation has its version in the store, and the current one stays what it was", async () => {
  const side = await formatted();
  expect(await side.step("begin")).toMatchObject({ state: "pending", from: 1, to: 2, current: 1, versions: [1, 2] });
  expect(await side.current()).toBe(1);
  const { secrets } = await side.rooms();
  const minted = await secrets.resolveSecret("web1", pillarWith(NODE), PATH, "rotate", 2);
  expect(minted).toMatchObject({ version: 2, generated: true });
  expect(minted?.secret.length).toBe(32);
  minted?.secret.wipe();
  // the same again, however often and after whatever restart
  side.restart();
  expect(await side.step("begin")).toMatchObject({ state: "pending", from: 1, to: 2, versions: [1, 2] });
});

test("what was proven is current at once; done ends it; the next rotation mints a further version", async () => {
  const side = await formatted();
  await side.step("begin");
  expect(await side.step("done", { to: 2 })).toEqual({ verdict: "refused", reason: "not-committed" });
  expect(await side.step("proven", { from: 1, to: 2, slot: 1 })).toMatchObject({ state: "committed", current: 2 });
  expect(await side.step("proven", { from: 1, to: 2, slot: 1 })).toMatchObject({ state: "committed", current: 2 });
  expect(await side.current()).toBe(2);
  expect(await side.step("done", { from: 1, to: 2, slot: 1 })).toMatchObject({ state: "done", current: 2 });
  expect(await side.step("revert", { from: 1, to: 2 })).toEqual({ verdict: "refused", reason: "nothing-open" });
  expect(await side.step("begin")).toMatchObject({ state: "pending", from: 2, to: 3, current: 2 });
  const records = (await recordsOf(side.store)).filter(({ kind }) => kind.startsWith("rotation-"));
  expect(records.map(({ kind, data }) => [kind, data["from"], data["to"]])).toEqual([
    ["rotation-begun", 1, 0],
    ["rotation-committed", 1, 2],
    ["rotation-done", 1, 2],
    ["rotation-begun", 2, 0],
  ]);
  expect(records[1]?.data["signature"]).toMatch(/^[0-9a-f]{128}$/u);
});

test("a rotation is taken back while both slots exist; its version stays in the store and is never current again", async () => {
  const side = await formatted();
  await side.step("begin", { keepOld: true });
  await side.step("proven", { from: 1, to: 2, slot: 1 });
  expect(await side.step("revert", { from: 2, to: 2 })).toEqual({ verdict: "refused", reason: "no-such-version" });
  expect(await side.step("revert", { from: 1, to: 2 })).toMatchObject({ state: "reverting", current: 1 });
  expect(await side.step("proven", { from: 1, to: 2 })).toEqual({ verdict: "refused", reason: "rolled-back" });
  expect(await side.step("reverted", { from: 1, to: 2 })).toMatchObject({ state: "rolled-back", versions: [1, 2] });
  expect(await side.step("begin")).toMatchObject({ from: 1, to: 3, current: 1 });
  await side.step("proven", { from: 1, to: 3, slot: 1 });
  expect(await side.current()).toBe(3);
});

test("an import in the middle of a rotation is not undone by its end", async () => {
  const side = await formatted();
  await side.step("begin");
  const { secrets } = await side.rooms();
  using moved = Secret.take(Buffer.from("what an operator moved into the store"));
  await secrets.versions.import("web1", PATH, moved);
  expect(await side.step("proven", { from: 1, to: 2 })).toEqual({ verdict: "refused", reason: "superseded" });
  expect(await side.current()).toBe(3);
  expect(await side.step("begin")).toMatchObject({ state: "pending", from: 3, to: 4 });
});

test("only a key that the master makes is rotated, and only one that the minion's own pillar names", async () => {
  const side = await formatted();
  side.node = { kind: "secret", armored: "-----BEGIN AGE ENCRYPTED FILE-----", file: "web1.yaml", line: 3 };
  expect(await side.step("begin")).toEqual({ verdict: "refused", reason: "not-generated" });
  side.node = NODE;
  await expect(side.step("begin", { path: "another" })).rejects.toMatchObject({ code: "not-in-pillar" });
  await expect(side.step("begin", { volume: "logs" })).rejects.toMatchObject({ code: "not-in-pillar" });
  expect(await new Side().step("begin")).toEqual({ verdict: "refused", reason: "no-key-yet" });
});

test("a step that another key signed, or that was changed on its way, is refused and changes nothing", async () => {
  const side = await formatted();
  const { rotations } = await side.rooms();
  const { session } = side;
  const unsigned: Step = {
    event: "begin",
    volume: "data",
    path: PATH,
    device: "/dev/vdb",
    luksUuid: UUID,
    from: 0,
    to: 0,
    slot: -1,
    keepOld: false,
  };
  const other = new FakeSession("web1").identity;
  const forged = [
    signRotation(unsigned, other, session.handshakeHash),
    { ...signRotation(unsigned, session.identity, session.handshakeHash), keepOld: true },
    signRotation(unsigned, session.identity, Buffer.alloc(32, 8)),
  ];
  for (const step of forged) {
    await expect(rotations.step(session, step)).rejects.toMatchObject({ code: "rotation-signature" });
  }
  expect(await rotations.list()).toEqual([]);
});

/**
 * The other side in its plainest form: which versions open a slot of the header. It does what a minion does on the disk,
 * and may die after any step.
 */
interface Header {
  readonly opens: Set<number>;
}

const POINTS: readonly RotationPoint[] = [
  "rotation-asked",
  "rotation-announced",
  "rotation-minted",
  "rotation-proven",
  "rotation-committed",
  "rotation-done",
];
const EVENTS: readonly Event[] = ["look", "begin", "proven", "finish", "done", "revert", "reverted"];

/** One step of a minion that acts on its disk as it should, told by what the master answers alone. */
async function act(side: Side, header: Header, event: Event): Promise<void> {
  const seen = await side.step("look");
  if (seen.verdict !== "ok") return;
  const { from, to } = seen;
  const both = header.opens.has(from) && header.opens.has(to);
  // a slot is added only for a version that the master has said to be stored, and proven only when it is there
  if (event === "proven" && seen.state === "pending" && seen.versions.includes(to)) header.opens.add(to);
  if (event === "proven" && !header.opens.has(to)) return;
  if (event === "done" && seen.state === "committed" && !seen.keepOld && header.opens.has(to))
    header.opens.delete(from);
  if (event === "done" && header.opens.has(from)) return;
  if (event === "revert" && !both) return;
  if (event === "reverted" && seen.state === "reverting" && header.opens.has(from)) header.opens.delete(to);
  if (event === "reverted" && header.opens.has(to)) return;
  await side.step(event, { from, to });
}

test("I3: whatever the order of steps, repeats, crashes and kept slots, the current version opens the header", async () => {
  const order = fc.array(
    fc.record({
      event: fc.constantFrom(...EVENTS),
      keepOld: fc.boolean(),
      dieAt: fc.option(fc.constantFrom(...POINTS), { nil: undefined }),
      // a step of long ago that comes once more
      stale: fc.boolean(),
    }),
    { maxLength: 14 },
  );
  await fc.assert(
    fc.asyncProperty(order, async (steps) => {
      const side = await formatted();
      const header: Header = { opens: new Set([1]) };
      for (const { event, keepOld, dieAt, stale } of steps) {
        side.dieAt = dieAt;
        try {
          if (event === "begin") await side.step("begin", { keepOld });
          else if (stale && event !== "proven" && event !== "revert") await side.step(event, { from: 1, to: 2 });
          else await act(side, header, event);
        } catch (error) {
          if (!(error instanceof Died)) throw error;
        }
        side.dieAt = undefined;
        const { secrets } = await side.rooms();
        const stored = (await secrets.history("web1", PATH)).map(({ version }) => version);
        expect([...header.opens].every((version) => stored.includes(version))).toBe(true);
        expect(header.opens.has(await side.current())).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
}, 30_000);

test("a key that was erased for good leaves nothing that a later one of its volume could be taken for", async () => {
  const side = await formatted();
  const { secrets } = await side.rooms();
  await side.step("begin");
  await side.step("revert", { from: 1, to: 2 });
  await side.step("reverted", { to: 2 });
  await secrets.versions.destroy("web1", PATH);
  // its second life, and another format after its key was set aside
  await side.format();
  await secrets.versions.forget("web1", PATH);
  await side.format();
  expect(await side.current()).toBe(2);
});

test("a version that is not stored, or does not decrypt, never becomes the key: the one before stays, and the refusal says so", async () => {
  const side = await formatted();
  const { secrets } = await side.rooms();
  const guard = new VolumeGuard({
    volumes: { get: () => undefined, list: () => [] },
    versions: secrets.versions,
    compile: async () => pillarWith(NODE),
    record: async () => {},
  });
  const rotation = { id: "web1", volume: "data", path: PATH };
  await guard.assertRotationMayCommit({ ...rotation, to: 1 });
  const refused = guard.assertRotationMayCommit({ ...rotation, to: 2 });
  await expect(refused).rejects.toMatchObject({
    code: "key-not-kept",
    message: "cannot make version 2 the key of volume web1/data: it is not stored, or does not decrypt",
    hint: "the version before stays the key, and its keyslot; look at the disk that holds the master's state_dir",
  });
});

test("a rotation that was left open is none of the volume's next life", async () => {
  const side = await formatted();
  const { secrets, rotations } = await side.rooms();
  await side.step("begin", { keepOld: true });
  await side.step("proven", { to: 2, slot: 1 });
  const also = { op: "delete", key: "keyslots-erased/web1/data" } as const;
  // one that does not read goes as well
  const damaged = `secret/web1/${encodeURIComponent(PATH)}/000007`;
  await side.store.write([also.key, damaged].map((key) => ({ op: "put", key, value: Buffer.from("{}") })));
  await secrets.versions.destroy("web1", PATH, [also]);
  expect(await rotations.list()).toEqual([]);
  expect(await side.store.get(also.key)).toBeUndefined();
  await side.format();
  expect(await side.step("begin")).toMatchObject({ state: "pending", from: 1, to: 2, versions: [1, 2] });
});

test("a host that begins and takes back rotations gets 64 versions, then is told to wait; what it has stays (I3)", async () => {
  const side = await formatted();
  const cycle = async (to: number) => {
    const begun = await side.step("begin");
    if (begun.verdict === "refused") return begun.reason;
    await side.step("revert", { from: 1, to });
    await side.step("reverted", { from: 1, to });
    return begun.to;
  };
  for (let to = 2; to <= 64; to += 1) expect(await cycle(to)).toBe(to);
  expect(await cycle(65)).toBe("too-many-versions");
  expect(await side.current()).toBe(1);
  const { secrets } = await side.rooms();
  expect(await secrets.history("web1", PATH)).toHaveLength(64);
  // no further audit record of one that was not begun
  expect((await recordsOf(side.store)).filter(({ kind }) => kind === "rotation-begun")).toHaveLength(63);
  side.clock.time += 64 * 3_600_000;
  expect(await cycle(65)).toBe(65);
});
