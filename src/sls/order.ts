import type { Draft } from "./draft.ts";
import { REQUISITES } from "./keywords.ts";
import type { Requisite, RequisiteKind } from "./low.ts";

/**
 * A node of the walk: state `index` itself, or (`predicted`) its trial in test mode, which a prereq on it needs first.
 */
interface Edge {
  readonly targets: readonly number[];
  readonly predicted: boolean;
}

interface Frame {
  readonly index: number;
  readonly predicted: boolean;
  readonly edges: readonly Edge[];
  edge: number;
  target: number;
}

/** Order and cycles; each cycle is a list of positions, the first repeated at the end. */
export interface Ordered {
  readonly order: readonly number[];
  readonly cycles: readonly (readonly number[])[];
}

const MAX_CYCLES = 10;
const RANK = new Map<RequisiteKind, number>(REQUISITES.map((kind, rank) => [kind, rank]));

class Walk {
  readonly order: number[] = [];
  readonly cycles: (readonly number[])[] = [];
  readonly #requisites: readonly (readonly Requisite[])[];
  readonly #prerequired: readonly (readonly number[])[];
  readonly #ran: ("open" | "done" | undefined)[] = [];
  readonly #tried: ("open" | "done" | undefined)[] = [];
  /** Lists of targets that are all done: many states may share one. */
  readonly #doneLists = new Set<readonly number[]>();
  readonly #stack: Frame[] = [];

  constructor(requisites: readonly (readonly Requisite[])[]) {
    this.#requisites = requisites;
    const prerequired: number[][] = requisites.map(() => []);
    for (const [index, list] of requisites.entries()) {
      for (const { kind, targets } of list) {
        if (kind === "prereq") for (const target of targets) prerequired[target]?.push(index);
      }
    }
    this.#prerequired = prerequired;
  }

  #open(index: number, predicted: boolean): void {
    (predicted ? this.#tried : this.#ran)[index] = "open";
    const own = (this.#requisites[index] ?? [])
      .filter(({ kind }) => kind !== "listen")
      .toSorted((one, other) => (RANK.get(one.kind) ?? 0) - (RANK.get(other.kind) ?? 0))
      .map(({ kind, targets }) => ({ targets, predicted: kind === "prereq" }));
    const before = predicted ? [] : [{ targets: this.#prerequired[index] ?? [], predicted: false }];
    this.#stack.push({ index, predicted, edges: [...own, ...before], edge: 0, target: 0 });
  }

  #cycle(index: number, predicted: boolean): void {
    if (this.cycles.length >= MAX_CYCLES) return;
    const from = this.#stack.findIndex((frame) => frame.index === index && frame.predicted === predicted);
    const path = this.#stack.slice(from).map((frame) => frame.index);
    this.cycles.push([...path, index].filter((at, position, all) => position === 0 || at !== all[position - 1]));
    const last = this.cycles.at(-1) ?? [];
    if (last.length === 1) this.cycles[this.cycles.length - 1] = [index, index];
  }

  #step(frame: Frame): void {
    const edge = frame.edges[frame.edge];
    if (!edge) {
      this.#stack.pop();
      (frame.predicted ? this.#tried : this.#ran)[frame.index] = "done";
      if (!frame.predicted) this.order.push(frame.index);
      return;
    }
    const target = this.#doneLists.has(edge.targets) && !edge.predicted ? undefined : edge.targets[frame.target];
    if (target === undefined) {
      if (!edge.predicted) this.#doneLists.add(edge.targets);
      frame.edge += 1;
      frame.target = 0;
      return;
    }
    frame.target += 1;
    const mark = (edge.predicted ? this.#tried : this.#ran)[target];
    if (mark === "open") this.#cycle(target, edge.predicted);
    else if (mark === undefined) this.#open(target, edge.predicted);
  }

  run(count: number): Ordered {
    for (let index = 0; index < count; index += 1) {
      if (this.#ran[index] === undefined) this.#open(index, false);
      for (let frame = this.#stack.at(-1); frame; frame = this.#stack.at(-1)) this.#step(frame);
    }
    return this;
  }
}

/**
 * Orders states so that every requisite comes first, otherwise keeping the given order: the order in which Salt's runner
 * gets to them. What a prereq points at is tried first and run after. Linear in states plus requisites.
 */
export function orderStates(drafts: readonly Draft[], requisites: readonly (readonly Requisite[])[]): Ordered {
  return new Walk(requisites).run(drafts.length);
}
