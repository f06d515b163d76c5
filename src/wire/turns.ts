/** Work that the master does for minions before everything else has its turn, in microseconds of its price. */
export const TURN_US = 10_000;
/** Requests of one minion that may wait for their turn, and their bytes. */
export const MAX_WAITING = 256;
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** A piece of work, and what it costs. */
export interface Task {
  readonly us: number;
  /** What it keeps in memory until its turn. */
  readonly bytes: number;
  readonly work: () => void;
}

/** The row of one minion. */
interface Row {
  readonly tasks: Task[];
  bytes: number;
}

/**
 * Requests in turns. While there is little to do each is served as it comes. When the work of one turn of the event loop is
 * done, the rest waits, in a row for each minion, and the rows are served one request each, round after round: however much one
 * minion asks for, another waits for one request of it, not for all.
 */
export class Turns {
  readonly #rows = new Map<string, Row>();
  readonly #later: (turn: () => void) => void;
  #spentUs = 0;
  #isComing = false;

  constructor(later: (turn: () => void) => void = setImmediate) {
    this.#later = later;
  }

  /** Does it now or in its turn; false when too much of this minion waits already. */
  take(minionId: string, task: Task): boolean {
    if (this.#rows.size === 0 && this.#hasRoom(task)) {
      this.#do(task);
      this.#comeAgain();
      return true;
    }
    const row = this.#rows.get(minionId) ?? { tasks: [], bytes: 0 };
    const isFull = row.tasks.length >= MAX_WAITING || row.bytes + task.bytes > MAX_WAITING_BYTES;
    if (isFull && row.tasks.length > 0) return false;
    row.tasks.push(task);
    row.bytes += task.bytes;
    this.#rows.set(minionId, row);
    this.#comeAgain();
    return true;
  }

  /** One that is larger than a turn has one to itself. */
  #hasRoom({ us }: Task): boolean {
    return this.#spentUs === 0 || this.#spentUs + us <= TURN_US;
  }

  #do({ us, work }: Task): void {
    this.#spentUs += us;
    work();
  }

  #comeAgain(): void {
    if (this.#isComing) return;
    this.#isComing = true;
    this.#later(() => {
      this.#turn();
    });
  }

  #turn(): void {
    this.#isComing = false;
    this.#spentUs = 0;
    for (const [minionId, row] of this.#rows) {
      const [task] = row.tasks;
      if (task === undefined || !this.#hasRoom(task)) break;
      row.tasks.shift();
      row.bytes -= task.bytes;
      // behind all others
      this.#rows.delete(minionId);
      if (row.tasks.length > 0) this.#rows.set(minionId, row);
      this.#do(task);
    }
    if (this.#rows.size > 0 || this.#spentUs > 0) this.#comeAgain();
  }
}
