import { hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { HostError } from "../core/errors.ts";
import { syncDirectoryOf } from "./durable-file.ts";

const SLOT_BYTES = 256;
/** Each master has two slots, written in turn, so that a power cut in the middle of a write spoils at most the newer one. */
const PAIR_BYTES = 2 * SLOT_BYTES;
/** Masters that are remembered; for one more, the one that was not heard of for longest is forgotten. */
const MAX_MASTERS = 16;

/** Where the minion is in each master's sequence of jobs (I7): on disk before a job is handed out. */
export interface PositionFile {
  /** Highest number kept for this master, 0 for none. */
  lastSeq(master: string): number;
  /** Keeps a number, on disk when it resolves; a lower one than is kept for the same master changes nothing. */
  save(master: string, seq: number): Promise<void>;
  close(): Promise<void>;
}

interface Slot {
  readonly master: string;
  readonly seq: number;
  /** Counts writes to the file: of two slots the higher is the newer. */
  readonly turn: number;
}

/** What is kept of one master; undefined for room that no master has yet. */
interface Pair {
  newest: Slot | undefined;
  /** The slot that is written next: 0 or 1. */
  next: number;
}

function encode(slot: Slot): Buffer {
  const body = JSON.stringify(slot);
  const text = `${hash("sha256", body)} ${body}\n`;
  return Buffer.from(text.padEnd(SLOT_BYTES, " "), "utf8");
}

function decode(bytes: Buffer): Slot | undefined {
  const [sum, ...rest] = bytes.toString("utf8").trimEnd().split(" ");
  const body = rest.join(" ");
  return sum === hash("sha256", body) ? (JSON.parse(body) as Slot) : undefined;
}

/** Undefined when it is damaged: something was written, and nothing of it is whole. */
function decodePair(bytes: Buffer): Pair | undefined {
  const second = bytes.subarray(SLOT_BYTES);
  const slots = [decode(bytes.subarray(0, SLOT_BYTES)), decode(second)];
  const newest = newestOf(slots);
  // a single slot that is not whole: the very first write was cut short, nothing was handed out
  if (newest === undefined && second.some((byte) => byte !== 0)) return undefined;
  return { newest, next: newest === undefined || slots[0] !== newest ? 0 : 1 };
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (cause) {
    throw new HostError("file-failed", `cannot open "${path}"`, { cause, facts: { path } });
  }
}

/**
 * Opens (or makes) the file. `master` is a fingerprint. A master of which no slot is whole makes it damaged: HostError
 * `position-damaged`, since to start again from 0 would allow replays.
 */
export async function openPositionFile(path: string): Promise<PositionFile> {
  const handle = await openFile(path);
  const bytes = Buffer.alloc(MAX_MASTERS * PAIR_BYTES);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
  const pairs: Pair[] = [];
  for (let at = 0; at < bytes.length; at += PAIR_BYTES) {
    const pair = decodePair(bytes.subarray(at, at + PAIR_BYTES));
    if (pair !== undefined) pairs.push(pair);
  }
  if (pairs.length < MAX_MASTERS) {
    await handle.close();
    throw new HostError("position-damaged", `cannot use "${path}": it is damaged, replayed jobs could not be told`, {
      hint: "remove it if you trust the network path to the master",
      facts: { path },
    });
  }
  if (bytesRead === 0) await syncDirectoryOf(path);
  let turn = Math.max(...pairs.map(turnOf));
  let queue = Promise.resolve();

  const find = (master: string): Pair | undefined =>
    pairs.filter(({ newest }) => newest?.master === master).toSorted((a, b) => turnOf(b) - turnOf(a))[0];
  const oldest = (): Pair => pairs.toSorted((a, b) => turnOf(a) - turnOf(b))[0] as Pair;
  const write = async (master: string, seq: number): Promise<void> => {
    const known = find(master);
    if (known?.newest !== undefined && known.newest.seq >= seq) return;
    const pair = known ?? oldest();
    const slot = { master, seq, turn: turn + 1 };
    await handle.write(encode(slot), 0, SLOT_BYTES, pairs.indexOf(pair) * PAIR_BYTES + pair.next * SLOT_BYTES);
    await handle.datasync();
    turn = slot.turn;
    pair.next = 1 - pair.next;
    pair.newest = slot;
  };
  return {
    lastSeq: (master) => find(master)?.newest?.seq ?? 0,
    save: (master, seq) => {
      const done = queue.then(() => write(master, seq));
      queue = done.catch(() => {});
      return done;
    },
    close: () => handle.close(),
  };
}

const turnOf = ({ newest }: Pair): number => newest?.turn ?? 0;

function newestOf(slots: readonly (Slot | undefined)[]): Slot | undefined {
  const [first, second] = slots;
  if (first === undefined || second === undefined) return first ?? second;
  return second.turn > first.turn ? second : first;
}
