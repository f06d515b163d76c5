import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../../../src/core/json.ts";
import { formatLayout, layoutFacts, parseLayout } from "../../../../src/core/luks-layout.ts";
import type { LeasePurpose } from "../../../../src/core/lease-purpose.ts";
import { asOldLayout } from "../../../../src/core/luks-layout-old.ts";
import { leaseRecordSchema } from "../../../../src/master/leases/lease-record.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { KnownHeaders } from "../../../../src/master/volumes/known-headers.ts";
import { claimOf, luksMetadata, reencryptedMetadata, setAt } from "../../../fakes/luks-metadata.ts";
import { HandClock, openAudit, quiet } from "../fakes.ts";

const PATH = "volumes:data:luks:key";
const UUID = "0d2a7a5e-0000-4000-8000-000000000001";
const OTHER = "0d2a7a5e-0000-4000-8000-000000000002";

async function room(options: { declared?: boolean; escrowed?: string | undefined; store?: MemoryStore } = {}) {
  const clock = new HandClock();
  const store = options.store ?? new MemoryStore(clock);
  const known = new KnownHeaders({
    store,
    audit: await openAudit(store, clock),
    log: quiet,
    clock,
    escrowed: async () => options.escrowed,
    isDeclared: async () => options.declared ?? true,
  });
  const look = async (
    header: { readonly layout: string; readonly luksUuid: string },
    purpose: LeasePurpose = "open",
    reencrypts = false,
  ) => known.look("web1", { path: PATH, purpose, reencrypts, ...header });
  /** A lease that is allowed. */
  const lease = async (...asked: Parameters<typeof look>) => {
    const said = await look(...asked);
    if (said.kind === "refused") throw new Error(said.code);
    await said.note?.();
    return said.known;
  };
  const opened = async (header: { readonly layout: string; readonly luksUuid: string }) => {
    const facts = { ...layoutFacts(header.layout), known: false };
    const record = {
      leaseId: "l1",
      seq: 1,
      at: 1,
      id: "web1",
      fingerprint: "",
      address: "",
      path: PATH,
      purpose: "open",
    };
    const rest = {
      device: "",
      bootId: "",
      verdict: "allow",
      reasons: [],
      rule: "",
      policyHash: "",
      version: 1,
      suppressed: 0,
    };
    await known.opened(leaseRecordSchema.parse({ ...record, ...rest, luksUuid: header.luksUuid, header: facts }));
  };
  return { known, look, lease, opened, store };
}

const good = claimOf(UUID, luksMetadata());
const changed = (place: string, value: unknown, metadata: JsonObject = luksMetadata(), uuid = UUID) => {
  setAt(metadata, place, value);
  return claimOf(uuid, metadata);
};
const serpent = changed("segments.0.encryption", "serpent-xts-plain64");
const none = { layout: "", luksUuid: "" };

test("without a record the first header that is opened is known, and from then on another gets no key, for any purpose", async () => {
  const { look, lease, opened } = await room();
  expect(await lease(good)).toBe(false);
  // nothing was opened yet: a lease is no proof
  expect(await lease(serpent)).toBe(false);
  await opened(good);
  expect(await lease(serpent)).toBe(false);
  await lease(good);
  await opened(good);
  expect(await lease(good)).toBe(true);
  for (const purpose of ["open", "check", "rotate", "grow", "recovery", "format"] as const) {
    expect(await look(serpent, purpose)).toMatchObject({
      kind: "refused",
      code: "header-differs",
      text: expect.stringContaining('segments.0.encryption is "serpent-xts-plain64", on record "aes-xts-plain64"'),
    });
  }
  expect(await look(none)).toMatchObject({ code: "header-missing" });
});

test("a header that was seen before is not noted again: nothing is written for its next lease", async () => {
  const { look, lease, opened } = await room();
  await lease(good);
  const again = await look(good);
  expect([again.kind, "note" in again]).toEqual(["fits", false]);
  const other = await look(serpent);
  expect("note" in other).toBe(true);
  await lease(serpent);
  expect("note" in (await look(good))).toBe(true);
  await lease(good);
  await opened(good);
  expect(await lease(good)).toBe(true);
});

test("a header that no volume may have gets no key, known or not", async () => {
  for (const [place, value] of [
    ["segments.0.encryption", "cipher_null-ecb"],
    ["segments.0.type", "linear"],
    ["keyslots.0.kdf.iterations", 4_000_000_000],
  ] as const) {
    expect(await (await room()).look(changed(place, value))).toMatchObject({ code: "header-unsafe" });
  }
  const { look } = await room();
  expect(await look({ layout: 'version "1"\nuuid "u"', luksUuid: "u" })).toMatchObject({ code: "header-unsafe" });
  expect(await look({ layout: `uuid "${UUID}"\nversion "1"`, luksUuid: UUID })).toMatchObject({
    code: "header-unsafe",
  });
  expect(await look({ ...good, luksUuid: OTHER })).toMatchObject({ code: "header-unsafe" });
});

describe("another LUKS UUID", () => {
  const another = claimOf(OTHER, luksMetadata());

  test("is refused for a declared volume, unless a format was allowed that makes it", async () => {
    const { look, lease, known } = await room();
    await known.kept("web1", PATH, good.layout, UUID);
    expect(await look(another)).toMatchObject({ code: "header-unknown" });
    await lease({ layout: "", luksUuid: OTHER }, "format");
    expect(await lease(another)).toBe(false);
  });

  test("is another device where a key is given to several", async () => {
    const { lease, known, look } = await room({ declared: false });
    await known.kept("web1", PATH, good.layout, UUID);
    expect(await lease(another)).toBe(false);
    expect(await look(serpent)).toMatchObject({ code: "header-differs" });
  });
});

describe("a re-encryption", () => {
  const under = claimOf(UUID, reencryptedMetadata());
  const after = changed("digests", {
    "1": { ...(luksMetadata()["digests"] as { "0": object })["0"], salt: "new", digest: "new" },
  });

  test("begins with a lease for it, and ends with the header in escrow", async () => {
    const { look, lease, known } = await room();
    await known.kept("web1", PATH, good.layout, UUID);
    expect(await look(under)).toMatchObject({ code: "header-differs" });
    expect(await look(after)).toMatchObject({ code: "header-differs" });
    expect(await known.whyNotKept("web1", PATH, after.layout, UUID)).toContain("digests.0");
    // looked at is not allowed
    await look(good, "rotate", true);
    expect(await look(under)).toMatchObject({ code: "header-differs" });
    await lease(good, "rotate", true);
    // as it is before anything is written, it goes into escrow once more
    await known.kept("web1", PATH, good.layout, UUID);
    expect(await lease(under)).toBe(true);
    expect(await lease(after)).toBe(true);
    expect(await look(serpent)).toMatchObject({ code: "header-differs" });
    expect(await known.whyNotKept("web1", PATH, after.layout, UUID)).toBeUndefined();
    await known.kept("web1", PATH, after.layout, UUID);
    expect(await look(under)).toMatchObject({ code: "header-differs" });
    expect(await look(good)).toMatchObject({ code: "header-differs" });
    expect(await lease(after)).toBe(true);
  });
});

test("what is in escrow is the measure where nothing else is known, and is on record from then on", async () => {
  const { look, store } = await room({ escrowed: good.layout });
  expect(await look(serpent)).toMatchObject({ code: "header-differs" });
  expect(await look(good)).toMatchObject({ kind: "fits", known: true });
  const again = await room({ store });
  expect(await again.look(serpent)).toMatchObject({ code: "header-differs" });
});

test("a header that an older version has on record, without types, shuts nobody out and is kept anew with them", async () => {
  const layout = formatLayout(asOldLayout(parseLayout(good.layout) ?? new Map()));
  const { known, look, lease } = await room();
  await known.kept("web1", PATH, layout, UUID);
  expect(await look(serpent)).toMatchObject({ code: "header-differs" });
  // one that is sent like that is refused, whatever is on record
  expect(await look({ ...serpent, layout: layout.replace("aes-xts", "serpent-xts") })).toMatchObject({
    code: "header-unsafe",
  });
  expect(await lease(good)).toBe(true);
  expect((await known.tell("web1", { path: PATH, luksUuid: UUID })).layout).toBe(good.layout);
  expect(await lease(good)).toBe(true);
});

test("a removed volume, and a header that an operator accepts, begin afresh: also what is in escrow counts no more", async () => {
  for (const act of [
    async ({ known }: Awaited<ReturnType<typeof room>>) => known.forget("web1", PATH),
    async ({ known }: Awaited<ReturnType<typeof room>>) =>
      known.accept("web1", PATH, "data", { actor: "root", from: "control socket" }),
  ]) {
    const one = await room({ escrowed: good.layout });
    expect(await one.look(serpent)).toMatchObject({ code: "header-differs" });
    await act(one);
    expect(await one.lease(serpent)).toBe(false);
    expect(await one.look(changed("segments.0.encryption", "cipher_null-ecb"))).toMatchObject({
      code: "header-unsafe",
    });
    await one.opened(serpent);
    expect(await one.look(good)).toMatchObject({ code: "header-differs" });
  }
});

test("a host is told of its own headers, to say what differs", async () => {
  const { known } = await room();
  await known.kept("web1", PATH, good.layout, UUID);
  expect(await known.tell("web1", { path: PATH, luksUuid: OTHER })).toEqual({
    layout: good.layout,
    reencrypting: false,
  });
  expect(await known.tell("web2", { path: PATH, luksUuid: UUID })).toEqual({ layout: "", reencrypting: false });
});

test("however many headers a host names, so many are kept", async () => {
  const { lease, store } = await room({ declared: false });
  for (let index = 0; index < 100; index += 1) {
    await lease(claimOf(`0d2a7a5e-0000-4000-8000-${String(index).padStart(12, "0")}`, luksMetadata()));
  }
  const [entry, ...others] = await store.list("known-header/");
  expect(others).toEqual([]);
  expect(entry?.value.length).toBeLessThan(64 * 2048);
});
