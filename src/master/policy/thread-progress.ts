const DONE = 0;
const BEGAN = 1;

/** How far a thread has come with what it was given: written there, read by who waits for it, also when the thread hangs. */
export class ThreadProgress {
  /** What both threads see. */
  readonly shared: Int32Array;

  constructor(shared: Int32Array = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT))) {
    this.shared = shared;
  }

  /** Tasks that the thread has done. */
  get done(): number {
    return Atomics.load(this.shared, DONE);
  }

  /** The thread's CPU time when it began the task under way, milliseconds. */
  get beganMs(): number {
    return Atomics.load(this.shared, BEGAN);
  }

  /** In the thread: does a task, and returns with what came of it how much CPU time it took, milliseconds. */
  run<T>(task: () => T): { readonly value: T; readonly tookMs: number } {
    const began = cpuMs(process.threadCpuUsage());
    Atomics.store(this.shared, BEGAN, began);
    const value = task();
    const tookMs = cpuMs(process.threadCpuUsage()) - began;
    return { value, tookMs };
  }

  /** In the thread: a task is done, and what came of it was posted. */
  end(): void {
    Atomics.add(this.shared, DONE, 1);
  }
}

/** CPU time in milliseconds. */
export function cpuMs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1000;
}
