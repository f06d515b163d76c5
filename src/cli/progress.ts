import { formatDuration } from "../core/units.ts";
import { cutToColumns } from "./format/columns.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import type { Terminal } from "./terminal.ts";

const CLEAR = "\r\u001b[K";
/** Least time between two drawings: an eye sees no more. */
const REDRAW_MS = 50;

/** A line on the terminal that changes in place. */
interface LiveLine {
  /** Notes that there is something new to show. */
  readonly changed: () => void;
  /** Takes the line away, so that other lines can be printed; it comes back with the next change or tick. */
  readonly clear: () => void;
  readonly stop: () => void;
}

/** A line on the terminal that says how far a job is, gone when the job ends. Silent without a terminal. */
export interface Progress extends Omit<LiveLine, "changed"> {
  /** Notes what a host is doing. */
  host(id: string, doing: string): void;
  /** Counts one host as done. */
  done(id: string): void;
}

/** The same for a run on this machine. */
export interface RunLine extends Omit<LiveLine, "changed"> {
  /** Notes what the run does, or waits for. */
  readonly doing: (what: string) => void;
}

const silent: Progress & RunLine = {
  host: () => {},
  done: () => {},
  doing: () => {},
  clear: () => {},
  stop: () => {},
};

/** Redraws itself twice a second, so that a clock in it goes on. */
function startLine(terminal: Terminal, now: () => number, text: () => string): LiveLine {
  let drawn = false;
  let drawnAt = 0;
  const draw = () => {
    terminal.warn(`${CLEAR}${cutToColumns(sanitiseLine(text()), terminal.columns() - 1)}`);
    drawn = true;
    drawnAt = now();
  };
  const clear = () => {
    if (drawn) terminal.warn(CLEAR);
    drawn = false;
  };
  const ticker = setInterval(draw, 500);
  ticker.unref();
  return {
    changed: () => {
      if (now() - drawnAt >= REDRAW_MS) draw();
    },
    clear,
    stop: () => {
      clearInterval(ticker);
      clear();
    },
  };
}

/** A progress line for `total` hosts. */
export function startProgress(terminal: Terminal, total: number, now: () => number): Progress {
  if (!terminal.errIsTerminal || total === 0) return silent;
  const startedAt = now();
  const doing = new Map<string, string>();
  let finished = 0;
  const line = startLine(terminal, now, () => {
    const latest = [...doing].at(-1);
    const what = latest ? `  ${latest[0]}: ${latest[1]}` : "";
    return `${finished}/${total} returned  ${formatDuration(now() - startedAt)}${what}`;
  });
  return {
    host: (id, what) => {
      // the host that moved last is the one shown
      doing.delete(id);
      doing.set(id, what);
      line.changed();
    },
    done: (id) => {
      doing.delete(id);
      finished += 1;
      line.changed();
    },
    clear: line.clear,
    stop: line.stop,
  };
}

/** A line for one run on this machine: how long it has taken, and what it does. */
export function startRunLine(terminal: Terminal, now: () => number): RunLine {
  if (!terminal.errIsTerminal) return silent;
  const startedAt = now();
  let doing = "";
  const line = startLine(terminal, now, () => `${formatDuration(now() - startedAt)}  ${doing}`.trimEnd());
  return {
    doing: (what) => {
      doing = what;
      line.changed();
    },
    clear: line.clear,
    stop: line.stop,
  };
}
