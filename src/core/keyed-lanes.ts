import { Lane } from "./lane.ts";

/** Tasks of one name run one after the other, in the order they came; those of different names side by side. */
export class KeyedLanes {
  readonly #lanes = new Map<string, { readonly lane: Lane; tasks: number }>();

  /** Resolves or rejects as the task does, when it was its turn among those of its name. */
  async run<T>(name: string, task: () => Promise<T>): Promise<T> {
    const held = this.#lanes.get(name) ?? { lane: new Lane(), tasks: 0 };
    this.#lanes.set(name, held);
    held.tasks += 1;
    try {
      return await held.lane.run(task);
    } finally {
      held.tasks -= 1;
      if (held.tasks === 0) this.#lanes.delete(name);
    }
  }
}
