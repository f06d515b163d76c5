import { BugError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import type { Secret } from "../../core/secret.ts";
import type { LowChunk } from "../../sls/low.ts";
import { renderTemplate } from "../../sls/render.ts";
import type { ApplyContext, LeaseRecord } from "../../states/state.ts";
import { layerOfState } from "../../states/volume/layer.ts";
import type { EngineDeps } from "./deps.ts";

type StateCall = Pick<LowChunk, "fun" | "name" | "state">;

/** What one state is given, and what it left behind. */
export interface StateContext {
  readonly context: ApplyContext;
  /** Lines for the state's comment: its notes, then one a lease. */
  lines(): readonly string[];
  /** Throws BugError when a leased key outlived its use; wipes it first (I5). */
  assertWiped(): void;
}

function timeOfDay(ms: number): string {
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const millis = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${millis}`;
}

/** The life of a lease in one line: when the key was in hand, and how long after that it was used and wiped. */
export function leaseLine({ leasedAt, usedAt, wipedAt }: LeaseRecord): string {
  return `key: leased ${timeOfDay(leasedAt)} used +${usedAt - leasedAt} ms wiped +${wipedAt - leasedAt} ms`;
}

/** Commands of single states of storage are told as those of their layer, as a whole volume's are. */
function hostFor({ host, volumes }: EngineDeps, { state, fun, name }: StateCall): Host {
  const called = `${state}.${fun}`;
  const layer = layerOfState(called);
  return layer === undefined || volumes === undefined ? host : volumes.stateHost(called, name, layer);
}

/** Makes the context of one state; `signal` ends its work. */
export function makeContext(deps: EngineDeps, signal: AbortSignal, call: StateCall): StateContext {
  const notes: string[] = [];
  const held: Secret[] = [];
  const before = deps.leases.records().length;
  const { volumes } = deps;
  const context: ApplyContext = {
    ...(volumes === undefined
      ? {}
      : {
          layerHost: volumes.layerHost,
          assertKeyKept: (options, volume) => volumes.assertKeyKept(context, volume, options),
          escrowedUuid: (volume) => volumes.escrowedUuid(volume),
          forgetKey: (volume) => volumes.forgetKey(volume),
          beforeDown: volumes.beforeDown,
        }),
    host: hostFor(deps, call),
    grains: deps.grains,
    pillar: deps.pillar,
    signal,
    source: (url) => deps.source(url),
    render: (template, url, extra) =>
      renderTemplate(template, url, { id: deps.id, grains: deps.grains, pillar: deps.pillar, ...extra }),
    leases: () => deps.leases.records(),
    pending: (key) => deps.journal.pending(key),
    begin: (key, note) => deps.journal.begin(key, note),
    commit: (key) => deps.journal.commit(key),
    reached: (step) => deps.reached?.(step),
    mounted: (device) => deps.leases.mounted?.(device),
    note: (line) => {
      notes.push(line);
    },
    lease: (ref, purpose, subject, use) =>
      deps.leases.lease(ref, purpose, subject, (key) => {
        held.push(key.secret);
        return use(key);
      }),
  };
  return {
    context,
    lines: () => [...notes, ...deps.leases.records().slice(before).map(leaseLine)],
    assertWiped: () => {
      const alive = held.filter((secret) => !secret.wiped);
      for (const secret of alive) secret.wipe();
      if (alive.length > 0) throw new BugError("key-not-wiped", "a leased key was not wiped when its state ended");
    },
  };
}
