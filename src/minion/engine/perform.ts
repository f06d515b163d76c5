import { errorText } from "../../core/error-text.ts";
import { BugError, HostError, LatchkeyError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { LowChunk } from "../../sls/low.ts";
import type { AnyState, ApplyContext, Change, Outcome, Resource } from "../../states/state.ts";
import { makeContext, type StateContext } from "./context.ts";
import type { EngineDeps, Row } from "./deps.ts";
import { checkCommands, reasonToSkip } from "./guards.ts";

/** How one state is performed. */
export interface Performance {
  readonly test: boolean;
  readonly signal: AbortSignal;
  /** The watch fired: when nothing changed by itself, the state's reaction takes the place of its result. */
  readonly watchFired: boolean;
  /** Id of a state that this one depends on and that would change (test mode), when there is one. */
  readonly pendingOn: string | undefined;
  /** Id of the last state before this one that would change (test mode): it may make what is missing on the machine. */
  readonly pendingAfter: string | undefined;
}

function changesOf(changes: readonly Change[]): JsonObject {
  return Object.fromEntries(
    changes.map(({ field, from, to }): [string, Json] => [field, field === "diff" ? to : { old: from, new: to }]),
  );
}

function fieldsOf(changes: readonly Change[]): string {
  return changes.map(({ field }) => field).join(", ");
}

function failed(thrown: unknown, changes: JsonObject = {}): Row {
  return { result: false, changes, comment: errorText(thrown), ran: true };
}

/** True for errors about something that is not there (yet), or in use (still): `device-missing`, `device-busy`. */
function mayPassByItself(thrown: unknown): boolean {
  return thrown instanceof LatchkeyError && /^no-|(?:^|-)(?:missing|absent|not-found|busy)(?:-|$)/u.test(thrown.code);
}

/** What any state of this machine may make without being named for it; everything else is a mistake of its own. */
const MADE_BY_ANY: ReadonlySet<string> = new Set([
  "command-missing",
  "device-missing",
  "service-missing",
  "no-mount-point",
  "no-parent",
  "no-such-directory",
  "no-such-user",
]);

function settledComment(state: Resource<unknown>, params: unknown): string {
  return state.settled?.(params) ?? "already in the correct state";
}

/** What of `changes` was done by an apply that failed, as far as it can still be seen. */
async function doneDespite(
  state: Resource<unknown>,
  params: unknown,
  context: ApplyContext,
  changes: readonly Change[],
): Promise<JsonObject> {
  try {
    const left = new Set((await state.check(params, context)).map(({ field }) => field));
    return changesOf(changes.filter(({ field }) => !left.has(field)));
  } catch {
    // the failure that counts is the one of apply; what cannot be seen is not claimed
    return {};
  }
}

async function enforce(
  state: Resource<unknown>,
  params: unknown,
  context: ApplyContext,
  { test }: Performance,
): Promise<Row> {
  const changes = await state.check(params, context);
  if (changes.length === 0) {
    return { result: true, changes: {}, comment: settledComment(state, params), ran: true };
  }
  if (test) {
    return { result: null, changes: changesOf(changes), comment: `would change ${fieldsOf(changes)}`, ran: true };
  }
  try {
    await state.apply(params, context, changes);
  } catch (thrown) {
    return failed(thrown, await doneDespite(state, params, context, changes));
  }
  const left = await state.check(params, context);
  if (left.length === 0) {
    return { result: true, changes: changesOf(changes), comment: `changed ${fieldsOf(changes)}`, ran: true };
  }
  const comment = `still different after it was applied: ${fieldsOf(left)}`;
  return { result: false, changes: changesOf(changes), comment, ran: true };
}

function rowOf({ result, changes, comment }: Outcome): Row {
  return { result, changes, comment, ran: true };
}

async function performOnce(
  state: AnyState,
  params: unknown,
  context: ApplyContext,
  performance: Performance,
): Promise<Row> {
  if (state.kind === "resource") return enforce(state, params, context, performance);
  return rowOf(await (performance.test ? state.predict(params, context) : state.act(params, context)));
}

/** What a fired watch (or listen) makes of a state. */
async function reaction(state: AnyState, params: unknown, context: ApplyContext, test: boolean): Promise<Row> {
  if (!test) {
    if (!state.react) throw new BugError("no-reaction", `cannot react: ${state.name} has no reaction`);
    return rowOf(await state.react(params, context));
  }
  if (state.predictReact) return rowOf(await state.predictReact(params, context));
  return { result: null, changes: {}, comment: "would react to what it watches", ran: true, pending: true };
}

async function attempt(
  chunk: LowChunk,
  state: AnyState,
  params: unknown,
  { context }: StateContext,
  performance: Performance,
  deps: EngineDeps,
): Promise<Row> {
  const skip = await reasonToSkip(chunk, deps, performance.signal);
  if (skip !== undefined) return { result: true, changes: {}, comment: skip, ran: true, skipWatch: true };
  let row = await performOnce(state, params, context, performance);
  if (performance.watchFired && state.react && Object.keys(row.changes).length === 0) {
    row = await reaction(state, params, context, performance.test);
  }
  const holds = await checkCommands(chunk, deps, performance.signal);
  if (holds === undefined) return row;
  return { ...row, result: holds, comment: `check_cmd determined the state ${holds ? "succeeded" : "failed"}` };
}

async function attempts(
  chunk: LowChunk,
  state: AnyState,
  context: StateContext,
  performance: Performance,
  deps: EngineDeps,
): Promise<Row> {
  const params = state.params.parse(chunk.params);
  const comments: string[] = [];
  const { retry } = chunk;
  for (let number = 1; ; number += 1) {
    const row = await guarded(() => attempt(chunk, state, params, context, performance, deps), performance);
    const last = retry === undefined || performance.test || number >= retry.attempts || row.result === retry.until;
    if (last) return { ...row, comment: [...comments, row.comment].join("\n") };
    comments.push(`attempt ${number}: ${row.comment}`);
    await deps.clock.sleep(retry.intervalMs + deps.random() * retry.splayMs, performance.signal);
  }
}

/** Id of the state that may yet make what is missing, or end what is in the way; one that is not depended on makes only so much. */
function earlierThan(thrown: unknown, { test, pendingOn, pendingAfter }: Performance): string | undefined {
  if (!test) return undefined;
  if (pendingOn !== undefined && mayPassByItself(thrown)) return pendingOn;
  return thrown instanceof HostError && MADE_BY_ANY.has(thrown.code) ? (pendingOn ?? pendingAfter) : undefined;
}

/** Runs `work`; what it throws becomes a failed row, or in test mode a row that waits for an earlier state. */
async function guarded(work: () => Promise<Row>, performance: Performance): Promise<Row> {
  try {
    return await work();
  } catch (thrown) {
    const before = earlierThan(thrown, performance);
    if (before === undefined) return failed(thrown);
    return { result: null, changes: {}, comment: `would run after ${before}`, ran: true, pending: true };
  }
}

async function withContext(
  deps: EngineDeps,
  chunk: LowChunk,
  performance: Performance,
  work: (context: StateContext) => Promise<Row>,
): Promise<Row> {
  const context = makeContext(deps, performance.signal, chunk);
  const row = await guarded(() => work(context), performance);
  const comment = [row.comment, ...context.lines()].filter((line) => line !== "").join("\n");
  try {
    context.assertWiped();
    return { ...row, comment };
  } catch (thrown) {
    return { ...row, result: false, comment: [errorText(thrown), comment].join("\n") };
  }
}

/** Performs one state: guards, check, apply, check again, reaction, check_cmd, retry. Never throws. */
export async function perform(
  chunk: LowChunk,
  state: AnyState,
  performance: Performance,
  deps: EngineDeps,
): Promise<Row> {
  return withContext(deps, chunk, performance, (context) => attempts(chunk, state, context, performance, deps));
}

/** What a listener does at the end of a run. Never throws. */
export async function performReaction(
  chunk: LowChunk,
  state: AnyState,
  performance: Performance,
  deps: EngineDeps,
): Promise<Row> {
  return withContext(deps, chunk, performance, ({ context }) =>
    reaction(state, state.params.parse(chunk.params), context, performance.test),
  );
}
