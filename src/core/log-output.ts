import { writeSync } from "node:fs";

const MAX_WAITING_CHARACTERS = 32_768;
/** A pipe that is full for longer than this loses lines: whoever logs must not wait for whoever reads. */
const FULL_PIPE_TRIES = 50;
const FULL_PIPE_PAUSE_MS = 10;

/**
 * Standard error as a place for log lines: those of one turn of the event loop in one write, which costs as much as one
 * line. Never throws: lines that cannot be written (a full disk) are dropped and counted, and the next ones that can be
 * come behind a line of `name` that says how many are missing.
 */
export function standardError(name: string): { write(line: string): void } {
  let text = "";
  let due = false;
  let dropped = 0;
  let isCut = false;
  const flush = () => {
    due = false;
    const lines = text;
    text = "";
    if (lines === "") return;
    const bytes = Buffer.from(`${isCut ? "\n" : ""}${dropped > 0 ? missingLine(name, dropped) : ""}${lines}`);
    // once lines are lost there is no more waiting for a reader
    const written = writeAll(bytes, dropped > 0 ? 0 : FULL_PIPE_TRIES);
    isCut = written > 0 ? bytes[written - 1] !== 0x0a : isCut;
    if (written === bytes.length) dropped = 0;
    else dropped += lines.split("\n").length - 1;
  };
  atExit(flush);
  return {
    write: (line) => {
      text += line;
      if (text.length > MAX_WAITING_CHARACTERS) flush();
      if (due) return;
      due = true;
      setImmediate(flush);
    },
  };
}

const lastWords = new Set<() => void>();

/** Also the end of a process by an exception that nobody caught. */
function atExit(flush: () => void): void {
  if (lastWords.size === 0) {
    process.once("exit", () => {
      for (const each of lastWords) each();
    });
  }
  lastWords.add(flush);
}

/** How many of the bytes were written: all, unless the system refuses more. */
function writeAll(bytes: Uint8Array, maxTries: number): number {
  let written = 0;
  for (let tries = 0; written < bytes.length;) {
    try {
      written += writeSync(2, bytes, written);
    } catch (error) {
      if (!isFullPipe(error) || tries >= maxTries) return written;
      tries += 1;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_PAUSE_MS);
    }
  }
  return written;
}

function isFullPipe(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EAGAIN";
}

function missingLine(name: string, dropped: number): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ level: 40, time, name, dropped, msg: "log lines are missing here: they could not be written" })}\n`;
}
