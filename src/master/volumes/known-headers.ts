import { sha256 } from "../../core/crypto/hash.ts";
import type { Clock } from "../../core/clock.ts";
import { KeyedLanes } from "../../core/keyed-lanes.ts";
import type { Logger } from "../../core/log.ts";
import { layoutFacts, parseLayout, saysReencrypting, textIn } from "../../core/luks-layout.ts";
import { isOldText } from "../../core/luks-layout-old.ts";
import { compareLayouts, describeDifferences } from "../../core/luks-layout-compare.ts";
import { describeFaults, findLayoutFaults } from "../../core/luks-layout-rules.ts";
import { rememberedTexts } from "../../core/remembered.ts";
import { z } from "../../core/schema.ts";
import type { Request, Response } from "../../wire/messages.ts";
import type { Actor } from "../audit/actor.ts";
import type { AuditLog } from "../audit/audit-log.ts";
import type { LeaseRecord } from "../leases/lease-record.ts";
import { pathName } from "../release/path-name.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";

const PREFIX = "known-header/";
/** Of one key: where a pillar gives it to several devices, by their headers; the latest stay. */
const MAX_HEADERS = 64;
/** Of layouts that were judged last: those of some thousand hosts. */
const JUDGED_CHARS = 4 * 1024 * 1024;

const entrySchema = z.object({
  luksUuid: z.string(),
  layout: z.string(),
  /**
   * `announced`: a format was allowed that makes it. `seen`: a lease was allowed for it, and nothing is known of what came of
   * that. `known`: it was opened with the key, or is in escrow: from then on it is compared.
   */
  state: z.enum(["announced", "seen", "known"]),
  /** From the lease for a re-encryption until the header after it is in escrow. */
  reencrypting: z.boolean(),
  at: z.number(),
});
type Entry = z.infer<typeof entrySchema>;
const recordSchema = z.object({
  id: z.string(),
  path: z.string(),
  headers: z.array(entrySchema),
  /** What is in escrow counts for nothing: the volume was removed, or an operator accepts the header that comes next. */
  afresh: z.boolean(),
});
type Known = z.infer<typeof recordSchema>;

/** What known headers rest on. */
export interface KnownHeadersOptions {
  readonly store: Store;
  readonly audit: Pick<AuditLog, "append">;
  readonly log: Logger;
  readonly clock: Clock;
  /** The layout of the newest header in escrow of the volume with this key; undefined for none. */
  readonly escrowed: (id: string, path: string) => Promise<string | undefined>;
  /** Whether this is the key of a volume that the host's pillar declares, which has one header. */
  readonly isDeclared: (id: string, path: string) => Promise<boolean>;
}

/** What the master says to a header that a lease is asked for. `note` is called before the key leaves. */
export type LookedAt =
  | { readonly kind: "fits"; readonly known: boolean; readonly note?: () => Promise<void> }
  | { readonly kind: "refused"; readonly code: string; readonly text: string };

type Asked = Pick<Request<"lease">, "layout" | "luksUuid" | "path" | "purpose" | "reencrypts">;

const refused = (code: string, text: string): LookedAt => ({ kind: "refused", code, text: text.slice(0, 1500) });
const fits = (known: boolean): LookedAt => ({ kind: "fits", known });
const digestOf = (layout: string): string => sha256(Buffer.from(layout)).toString("hex");

/**
 * How each LUKS header that a key was leased for says its volume is encrypted: as the format made it, as it is in escrow, or as
 * it was when it was first opened. A header that says otherwise gets no key: its disk was in other hands.
 */
export class KnownHeaders {
  readonly #options: KnownHeadersOptions;
  readonly #lanes = new KeyedLanes();
  readonly #judge = rememberedTexts(judgeLayout, JUDGED_CHARS);

  constructor(options: KnownHeadersOptions) {
    this.#options = options;
  }

  /** Whether a key may be leased for this header. Nothing is written until `note`. */
  async look(id: string, asked: Asked): Promise<LookedAt> {
    const { layout, luksUuid, path, purpose } = asked;
    const { headers } = await this.#read(id, path);
    const others = headers.filter(({ state }) => state === "known");
    if (layout === "") {
      if (purpose === "format")
        return { ...fits(false), ...this.#noting(id, path, luksUuid !== "" && announced(luksUuid)) };
      return others.length === 0 ? fits(false) : refused("header-missing", "its device has no LUKS header any more");
    }
    const entry = headers.find((one) => one.luksUuid === luksUuid);
    const isSame = entry?.state === "known" && entry.layout === layout;
    const fault = isSame ? undefined : faultOf(this.#judge(layout), luksUuid);
    if (fault !== undefined) return refused("header-unsafe", `its LUKS header cannot be used: ${fault}`);
    if (entry?.state === "known") return this.#compare(id, asked, entry);
    if (entry === undefined && others.length > 0 && (await this.#options.isDeclared(id, path))) {
      const known = others.map((one) => one.luksUuid).join(", ");
      return refused("header-unknown", `its LUKS header has UUID "${luksUuid}", the volume's has ${known}`);
    }
    const isNoted = entry?.state === "seen" && entry.layout === layout;
    const seen = !isNoted && { layout, luksUuid, state: "seen" as const, reencrypting: false };
    return { ...fits(false), ...this.#noting(id, path, seen) };
  }

  #compare(id: string, { layout, luksUuid, path, reencrypts }: Asked, entry: Entry): LookedAt {
    const differences = differencesOf(entry, layout);
    if (differences !== "")
      return refused("header-differs", `its LUKS header is not as it is on record: ${differences}`);
    const begins = reencrypts && !entry.reencrypting;
    // what an older version kept has no types: it is kept anew, but for what a re-encryption is in the middle of
    const isKeptAnew = isOldText(entry.layout) && !entry.reencrypting;
    const next = { ...entry, luksUuid, ...(isKeptAnew && { layout }), ...(begins && { reencrypting: true }) };
    return { ...fits(true), ...this.#noting(id, path, (begins || isKeptAnew) && next) };
  }

  #noting(id: string, path: string, entry: Omit<Entry, "at"> | false): { note?: () => Promise<void> } {
    return entry === false ? {} : { note: async () => this.#put(id, path, entry) };
  }

  /** The header of a lease was opened with its key: what was only seen is known from now on, in the audit log. */
  async opened({ id, path, luksUuid, header, leaseId }: LeaseRecord): Promise<void> {
    if (header.digest === "") return;
    const { headers } = await this.#read(id, path);
    const entry = headers.find((one) => one.luksUuid === luksUuid);
    if (entry?.state !== "seen" || digestOf(entry.layout) !== header.digest) return;
    const { audit, clock, log } = this.#options;
    const { known: _known, ...facts } = header;
    const data = { path, luksUuid, leaseId, reason: "first use", header: { ...facts } };
    await audit.append({ at: clock.now(), kind: "header-known", actor: id, subject: id, from: "", data });
    await this.#put(id, path, {
      ...entry,
      state: "known",
      reencrypting: saysReencrypting(parseLayout(entry.layout) ?? new Map()),
    });
    log.info({ id, ...data }, "a LUKS header is known from its first use");
  }

  /** Why a header may not go into escrow: it is not the one on record, and no re-encryption says why. Undefined when it may. */
  async whyNotKept(id: string, path: string, layout: string, luksUuid: string): Promise<string | undefined> {
    const fault = faultOf(this.#judge(layout), luksUuid);
    if (fault !== undefined) return fault;
    const { headers } = await this.#read(id, path);
    const entry = headers.find((one) => one.luksUuid === luksUuid);
    if (entry?.state === "known") return differencesOf(entry, layout) || undefined;
    const known = headers.filter(({ state }) => state === "known").map((one) => one.luksUuid);
    const isNew = entry !== undefined || known.length === 0;
    return isNew ? undefined : `it has UUID "${luksUuid}", the volume's has ${known.join(", ")}`;
  }

  /** A header is in escrow: it is the measure from now on. */
  async kept(id: string, path: string, layout: string, luksUuid: string): Promise<void> {
    const { headers } = await this.#stored(id, path);
    const entry = headers.find((one) => one.luksUuid === luksUuid);
    // the header goes into escrow before a re-encryption too: only one that has changed is its end
    const isToCome =
      entry?.state === "known" && entry.reencrypting && differencesOf({ ...entry, reencrypting: false }, layout) === "";
    const isUnderWay = saysReencrypting(parseLayout(layout) ?? new Map());
    await this.#put(id, path, { luksUuid, layout, state: "known", reencrypting: isUnderWay || isToCome });
  }

  /** What is known of a header, for its own host to say what differs. */
  async tell(id: string, { path, luksUuid }: Request<"header.known">): Promise<Response<"header.known">> {
    const known = (await this.#read(id, path)).headers.filter(({ state }) => state === "known");
    const entry = known.find((one) => one.luksUuid === luksUuid) ?? known.at(-1);
    return { layout: entry?.layout ?? "", reencrypting: entry?.reencrypting ?? false };
  }

  /** The volume was removed: the next header of this key is another one. */
  async forget(id: string, path: string): Promise<void> {
    await this.#lanes.run(`${id} ${path}`, async () => this.#write({ id, path, headers: [], afresh: true }));
  }

  /** An operator says that the header as it is now is meant: the next one that is opened is known. Recorded before. */
  async accept(id: string, path: string, volume: string, by: Actor): Promise<void> {
    const { audit, clock } = this.#options;
    const known = (await this.#read(id, path)).headers.filter(({ state }) => state === "known");
    const data = { volume, path, known: known.map(({ luksUuid, layout }) => ({ luksUuid, ...layoutFacts(layout) })) };
    await audit.append({ at: clock.now(), kind: "header-accepted", ...by, subject: id, data });
    await this.forget(id, path);
  }

  async #stored(id: string, path: string): Promise<Known> {
    const found = await this.#options.store.get(keyOf(id, path));
    return found === undefined ? { id, path, headers: [], afresh: false } : decodeRecord(recordSchema, found);
  }

  async #read(id: string, path: string): Promise<Known> {
    const known = await this.#stored(id, path);
    if (known.headers.some(({ state }) => state === "known") || known.afresh) return known;
    const layout = await this.#options.escrowed(id, path);
    if (layout === undefined) return known;
    const luksUuid = textIn(parseLayout(layout) ?? new Map(), "uuid") ?? "";
    await this.kept(id, path, layout, luksUuid);
    const others = known.headers.filter((one) => one.luksUuid !== luksUuid);
    return { ...known, headers: [...others, entryOf({ luksUuid, layout, state: "known", reencrypting: false }, 0)] };
  }

  async #put(id: string, path: string, entry: Omit<Entry, "at">): Promise<void> {
    await this.#lanes.run(`${id} ${path}`, async () => {
      const { store, clock } = this.#options;
      const found = await store.get(keyOf(id, path));
      const before = found === undefined ? undefined : decodeRecord(recordSchema, found);
      const all = before?.headers ?? [];
      const others = all.filter(({ luksUuid }) => luksUuid !== entry.luksUuid);
      const was = all.find(({ luksUuid }) => luksUuid === entry.luksUuid);
      // what is compared is never put back to what is only seen
      if (was?.state === "known" && entry.state !== "known") return;
      // what was only seen goes first
      const inOrder = others.toSorted((a, b) => Number(a.state === "known") - Number(b.state === "known"));
      const headers = [...inOrder, entryOf(entry, clock.now())].slice(-MAX_HEADERS);
      const afresh = (before?.afresh ?? false) && entry.state !== "known";
      await this.#write({ id, path, headers, afresh });
    });
  }

  async #write(record: Known): Promise<void> {
    await this.#options.store.write([putRecord(keyOf(record.id, record.path), record)]);
  }
}

const keyOf = (id: string, path: string): string => `${PREFIX}${id}/${pathName(path)}`;
const entryOf = (entry: Omit<Entry, "at">, at: number): Entry => ({ ...entry, at });
const announced = (luksUuid: string): Omit<Entry, "at"> => ({
  luksUuid,
  layout: "",
  state: "announced",
  reencrypting: false,
});

/** A layout by itself: whose it says it is, and what is wrong with it. Undefined for text that does not read. */
function judgeLayout(
  text: string,
): { readonly uuid: string | undefined; readonly fault: string | undefined } | undefined {
  const layout = parseLayout(text);
  if (layout === undefined) return undefined;
  const faults = findLayoutFaults(layout);
  return { uuid: textIn(layout, "uuid"), fault: faults.length === 0 ? undefined : describeFaults(faults) };
}

/** Why it cannot be the header of this UUID. */
function faultOf(judged: ReturnType<typeof judgeLayout>, luksUuid: string): string | undefined {
  if (judged === undefined) return "what the host says of it does not read";
  if (judged.uuid !== luksUuid) return `it has another UUID than the host says ("${luksUuid}")`;
  return judged.fault;
}

/** "" for a header that is the one on record. */
function differencesOf({ layout: known, reencrypting }: Entry, text: string): string {
  if (known === text) return "";
  const [one, two] = [parseLayout(known) ?? new Map(), parseLayout(text) ?? new Map()];
  return describeDifferences(compareLayouts(one, two, { reencrypting }));
}
