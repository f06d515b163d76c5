import { hash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { HostError } from "../core/errors.ts";
import { syncDirectoryOf } from "./durable-file.ts";

/** Two slots, written in turn, so that a power cut in the middle of a write spoils at most the newer one. */
const SLOT_BYTES = 256;

/** Where the minion is in a master's sequence of jobs (I7): on disk before a job is handed out. */
export interface PositionFile {
  /** Highest number kept for this master, 0 when it was another master's. */
  lastSeq(master: string): number;
  /** Keeps a number, on disk when it resolves; a lower one than is kept for the same master changes nothing. */
  save(master: string, seq: number): Promise<void>;
  close(): Promise<void>;
}

interface Slot {
  readonly master: string;
  readonly seq: number;
  /** Counts writes: the higher of two slots is the newer. */
  readonly turn: number;
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

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (cause) {
    throw new HostError("file-failed", `cannot open "${path}"`, { cause, facts: { path } });
  }
}

/**
 * Opens (or makes) the file. `master` is a fingerprint. A file of which no slot is whole counts as damaged: HostError
 * `position-damaged`, since to start again from 0 would allow replays.
 */
export async function openPositionFile(path: string): Promise<PositionFile> {
  const handle = await openFile(path);
  const bytes = Buffer.alloc(2 * SLOT_BYTES);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
  const slots = [decode(bytes.subarray(0, SLOT_BYTES)), decode(bytes.subarray(SLOT_BYTES))];
  // a single slot that is not whole: the very first write was cut short, nothing was handed out
  if (bytesRead > SLOT_BYTES && slots.every((slot) => slot === undefined)) {
    await handle.close();
    throw new HostError("position-damaged", `cannot use "${path}": it is damaged, replayed jobs could not be told`, {
      hint: "remove it if you trust the network path to the master",
      facts: { path },
    });
  }
  if (bytesRead === 0) await syncDirectoryOf(path);
  let newest = newestOf(slots);
  let next = newest === undefined || slots[0] !== newest ? 0 : 1;
  let queue = Promise.resolve();

  const write = async (master: string, seq: number): Promise<void> => {
    if (newest?.master === master && newest.seq >= seq) return;
    const slot = { master, seq, turn: (newest?.turn ?? 0) + 1 };
    await handle.write(encode(slot), 0, SLOT_BYTES, next * SLOT_BYTES);
    await handle.datasync();
    next = 1 - next;
    newest = slot;
  };
  return {
    lastSeq: (master) => (newest?.master === master ? newest.seq : 0),
    save: (master, seq) => {
      const done = queue.then(() => write(master, seq));
      queue = done.catch(() => {});
      return done;
    },
    close: () => handle.close(),
  };
}

function newestOf(slots: readonly (Slot | undefined)[]): Slot | undefined {
  const [first, second] = slots;
  if (first === undefined || second === undefined) return first ?? second;
  return second.turn > first.turn ? second : first;
}
