import type { StateReturn } from "../../core/state-return.ts";
import { Decider, type Decision, type Verdict } from "../../sls/decide.ts";
import type { LowChunk } from "../../sls/low.ts";
import type { AnyState } from "../../states/state.ts";
import { withDeadline } from "./deadline.ts";
import type { EngineDeps, Row, RunSettings } from "./deps.ts";
import { errorText } from "../../core/error-text.ts";
import { perform, type Performance, performReaction } from "./perform.ts";

const STATE_TIMEOUT_MS = 3_600_000;
const NONE_PENDING = { pendingOn: undefined, pendingAfter: undefined };

/** Time of day as Salt's rows have it. */
export function startTime(ms: number): string {
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const micros = `${String(at.getMilliseconds()).padStart(3, "0")}000`;
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${micros}`;
}

function verdictOf({ result, changes, ran, pending }: Row): Verdict {
  return { result, ran, changed: pending === true || Object.keys(changes).length > 0 };
}

function notRun(comment: string, result: boolean): Row {
  return { result, changes: {}, comment, ran: false };
}

class Run {
  readonly rows: Record<string, StateReturn> = {};
  readonly #chunks: readonly LowChunk[];
  readonly #deps: EngineDeps;
  readonly #settings: RunSettings;
  readonly #states: ReadonlyMap<string, AnyState>;
  readonly #verdicts: (Verdict | undefined)[];
  readonly #trials: (Verdict | undefined)[];
  readonly #trialRows: (Row | undefined)[] = [];
  readonly #prerequired: number[][];
  readonly #decider: Decider;
  #number = 0;
  #lastPending: string | undefined;

  constructor(chunks: readonly LowChunk[], deps: EngineDeps, settings: RunSettings) {
    this.#chunks = chunks;
    this.#deps = deps;
    this.#settings = settings;
    this.#states = new Map(deps.states.map((state) => [state.name, state]));
    this.#verdicts = Array.from({ length: chunks.length });
    this.#trials = Array.from({ length: chunks.length });
    this.#prerequired = chunks.map(() => []);
    for (const [index, { requisites }] of chunks.entries()) {
      for (const { kind, targets } of requisites) {
        if (kind === "prereq") for (const target of targets) this.#prerequired[target]?.push(index);
      }
    }
    this.#decider = new Decider(this.#verdicts, this.#trials);
  }

  #record(
    chunk: LowChunk,
    row: Row,
    { id, fun }: { id: string; fun: string },
    startedAt: number,
    tookMs: number,
  ): void {
    this.rows[`${chunk.state}_|-${id}_|-${chunk.name}_|-${fun}`] = {
      __id__: id,
      __sls__: chunk.sls,
      __run_num__: this.#number,
      __state_ran__: row.ran,
      name: chunk.name,
      result: row.result,
      changes: row.changes,
      comment: row.comment,
      start_time: startTime(startedAt),
      duration: Math.round(tookMs * 1000) / 1000,
      ...(row.skipWatch === true ? { skip_watch: true } : {}),
    };
    this.#number += 1;
  }

  async #timed(chunk: LowChunk, as: { id: string; fun: string }, work: () => Promise<Row>): Promise<Row> {
    const startedAt = this.#deps.clock.now();
    const from = this.#deps.clock.monotonicMs();
    const row = await work();
    this.#record(chunk, row, as, startedAt, this.#deps.clock.monotonicMs() - from);
    return row;
  }

  /** Ids of states that would change, in test mode: one that this state depends on, and the last before it. */
  #pendingOn({ requisites }: LowChunk): Pick<Performance, "pendingAfter" | "pendingOn"> {
    return { pendingOn: this.#required(requisites), pendingAfter: this.#lastPending };
  }

  #required(requisites: LowChunk["requisites"]): string | undefined {
    for (const { kind, targets } of requisites) {
      if (kind === "listen" || kind === "prereq") continue;
      const target = targets.findLast((index) => this.#verdicts[index]?.result === null);
      if (target !== undefined) return this.#chunks[target]?.id;
    }
    return undefined;
  }

  async #perform(chunk: LowChunk, watchFired: boolean, test: boolean): Promise<Row> {
    const name = `${chunk.state}.${chunk.fun}`;
    const state = this.#states.get(name);
    if (!state) return { result: false, changes: {}, comment: `there is no state "${name}"`, ran: true };
    const { signal, stateTimeoutMs = STATE_TIMEOUT_MS } = this.#settings;
    const pending = test ? this.#pendingOn(chunk) : NONE_PENDING;
    try {
      return await withDeadline(this.#deps.clock, stateTimeoutMs, signal, (inner) =>
        perform(chunk, state, { test, signal: inner, watchFired, ...pending }, this.#deps),
      );
    } catch (thrown) {
      return { result: false, changes: {}, comment: errorText(thrown), ran: true };
    }
  }

  #refusal(decision: Exclude<Decision, { readonly kind: "run" | "run-then-react" }>, index: number): Row {
    switch (decision.kind) {
      case "missing": {
        const comment = `The following requisites were not found: ${decision.refs.join(", ")}`;
        return { result: false, changes: {}, comment, ran: true };
      }
      case "failed": {
        const trial = this.#trialRows[index];
        // a prereq failed, but this state would fail by itself, or has nothing to do: then that is what counts
        if (trial && trial.result !== null) return trial;
        const names = decision.failed.map((at) => `${this.#chunks[at]?.sls}.${this.#chunks[at]?.id}`);
        const comment = `One or more requisite failed: ${names.join(", ")}`;
        return { result: false, changes: {}, comment, ran: true };
      }
      case "skip-onchanges":
        return notRun("State was not run because none of the onchanges reqs changed", true);
      case "skip-onfail":
        return notRun("State was not run because onfail req did not change", true);
      case "skip-prereq":
        return { result: true, changes: {}, comment: "No changes detected", ran: true };
      default:
        return decision satisfies never;
    }
  }

  /** Tries in test mode what the prereqs of a state point at. */
  async #tryTargets({ requisites }: LowChunk): Promise<void> {
    for (const { kind, targets } of requisites) {
      if (kind !== "prereq") continue;
      for (const target of targets) if (!this.#trials[target]) await this.#try(target);
    }
  }

  async #try(index: number): Promise<void> {
    const chunk = this.#chunks[index];
    if (!chunk) return;
    await this.#tryTargets(chunk);
    const decision = this.#decider.decide(chunk.requisites, []);
    const runs = decision.kind === "run" || decision.kind === "run-then-react";
    const row = runs
      ? await this.#perform(chunk, decision.kind === "run-then-react", true)
      : this.#refusal(decision, index);
    // its own requisites failed: that is final, and it has its turn now
    if (decision.kind === "failed") await this.#settle(index, chunk, async () => row);
    const verdict = verdictOf(row);
    const fires = decision.kind === "run-then-react" && !verdict.changed && row.skipWatch !== true;
    const wouldChange = row.result !== false && (verdict.changed || fires);
    this.#trialRows[index] = row;
    this.#trials[index] = { ...verdict, result: wouldChange ? null : row.result };
  }

  async #settle(index: number, chunk: LowChunk, work: () => Promise<Row>): Promise<Row> {
    const row = await this.#timed(chunk, { id: chunk.id, fun: chunk.fun }, work);
    this.#verdicts[index] = verdictOf(row);
    if (row.result === null) this.#lastPending = chunk.id;
    return row;
  }

  async #state(index: number, chunk: LowChunk): Promise<Row> {
    if (this.#settings.signal.aborted) {
      return this.#settle(index, chunk, async () => notRun("not run: the run was ended", false));
    }
    await this.#tryTargets(chunk);
    return this.#settle(index, chunk, async () => {
      const decision = this.#decider.decide(chunk.requisites, this.#prerequired[index] ?? []);
      return decision.kind === "run" || decision.kind === "run-then-react"
        ? this.#perform(chunk, decision.kind === "run-then-react", this.#settings.test)
        : this.#refusal(decision, index);
    });
  }

  /** The listeners, each once, when something that it listens to changed; also after a failure. */
  async listeners(): Promise<void> {
    for (const chunk of this.#chunks) {
      const listens = chunk.requisites.filter(({ kind }) => kind === "listen");
      const lost = listens.filter(({ targets }) => targets.length === 0).map(({ ref }) => `listen: ${ref}`);
      const fired = listens.some(({ targets }) => targets.some((index) => this.#verdicts[index]?.changed === true));
      const as = { id: `listener_${chunk.id}`, fun: "mod_watch" };
      if (lost.length > 0) await this.#timed(chunk, as, async () => this.#refusal({ kind: "missing", refs: lost }, -1));
      else if (fired) await this.#timed(chunk, as, () => this.#react(chunk));
    }
  }

  async #react(chunk: LowChunk): Promise<Row> {
    const { signal, test, stateTimeoutMs = STATE_TIMEOUT_MS } = this.#settings;
    const state = this.#states.get(`${chunk.state}.${chunk.fun}`);
    if (!state?.react) {
      return {
        result: false,
        changes: {},
        comment: `${chunk.state}.${chunk.fun} has nothing to do on listen`,
        ran: true,
      };
    }
    try {
      return await withDeadline(this.#deps.clock, stateTimeoutMs, signal, (inner) =>
        performReaction(chunk, state, { test, signal: inner, watchFired: true, ...NONE_PENDING }, this.#deps),
      );
    } catch (thrown) {
      return { result: false, changes: {}, comment: errorText(thrown), ran: true };
    }
  }

  async all(): Promise<void> {
    const { failhard = false, progress, test } = this.#settings;
    for (const [index, chunk] of this.#chunks.entries()) {
      progress?.(index, this.#chunks.length, `${chunk.state}.${chunk.fun} ${chunk.id}`);
      if (this.#verdicts[index]) continue;
      const row = await this.#state(index, chunk);
      if (row.result === false && !test && (failhard || chunk.failhard)) break;
    }
    await this.listeners();
    progress?.(this.#chunks.length, this.#chunks.length, "");
  }
}

/**
 * Runs ordered states and returns what became of each in Salt's shape, in the order in which they ran. Never throws for
 * what a state does: an exception is that state's failure. When the signal fires, the state at work is ended and the rest
 * fail as not run.
 */
export async function runStates(
  chunks: readonly LowChunk[],
  deps: EngineDeps,
  settings: RunSettings,
): Promise<Readonly<Record<string, StateReturn>>> {
  const run = new Run(chunks, deps, settings);
  await run.all();
  return run.rows;
}

/** Salt's exit code of a run: 2 when a state failed, or when there was none. */
export function retcodeOf(result: Readonly<Record<string, StateReturn>>): number {
  const rows = Object.values(result);
  return rows.length > 0 && rows.every((row) => row.result !== false) ? 0 : 2;
}
