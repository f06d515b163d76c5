import { formatDuration } from "../core/units.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import type { Terminal } from "./terminal.ts";

const CLEAR = "\r\u001b[K";
/** Least time between two drawings: an eye sees no more. */
const REDRAW_MS = 50;

/** A line on the terminal that says how far a job is, gone when the job ends. Silent without a terminal. */
export interface Progress {
  /** Notes what a host is doing. */
  host(id: string, doing: string): void;
  /** Counts one host as done. */
  done(id: string): void;
  /** Takes the line away, so that other lines can be printed; it comes back with the next change or tick. */
  clear(): void;
  stop(): void;
}

const silent: Progress = { host: () => {}, done: () => {}, clear: () => {}, stop: () => {} };

/** A progress line for `total` hosts; redraws itself twice a second, so that the clock goes on. */
export function startProgress(terminal: Terminal, total: number, now: () => number): Progress {
  if (!terminal.errIsTerminal || total === 0) return silent;
  const startedAt = now();
  const doing = new Map<string, string>();
  let finished = 0;
  let drawn = false;
  let drawnAt = 0;
  const draw = () => {
    const latest = [...doing].at(-1);
    const what = latest ? `  ${latest[0]}: ${latest[1]}` : "";
    const text = sanitiseLine(`${finished}/${total} returned  ${formatDuration(now() - startedAt)}${what}`);
    const width = terminal.columns() - 1;
    terminal.warn(`${CLEAR}${text.length > width ? `${text.slice(0, width - 1)}…` : text}`);
    drawn = true;
    drawnAt = now();
  };
  const redraw = () => {
    if (now() - drawnAt >= REDRAW_MS) draw();
  };
  const clear = () => {
    if (drawn) terminal.warn(CLEAR);
    drawn = false;
  };
  const ticker = setInterval(draw, 500);
  ticker.unref();
  return {
    host: (id, what) => {
      // the host that moved last is the one shown
      doing.delete(id);
      doing.set(id, what);
      redraw();
    },
    done: (id) => {
      doing.delete(id);
      finished += 1;
      redraw();
    },
    clear,
    stop: () => {
      clearInterval(ticker);
      clear();
    },
  };
}
