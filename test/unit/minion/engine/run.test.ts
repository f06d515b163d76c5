import { expect, test } from "vitest";
import type { Clock } from "../../../../src/core/clock.ts";
import { BugError, HostError } from "../../../../src/core/errors.ts";
import type { Host } from "../../../../src/core/host.ts";
import { z } from "../../../../src/core/schema.ts";
import { Secret } from "../../../../src/core/secret.ts";
import type { StateReturn } from "../../../../src/core/state-return.ts";
import type { EngineDeps, RunSettings } from "../../../../src/minion/engine/deps.ts";
import { runStates } from "../../../../src/minion/engine/run.ts";
import { compile } from "../../../../src/sls/compile.ts";
import { STATES } from "../../../../src/states/registry.ts";
import { type AnyState, type Change, defineState, type LeaseRecord } from "../../../../src/states/state.ts";
import { catalogueOf } from "../../../../src/states/validate.ts";

const NOON = new Date(2026, 0, 2, 12, 30, 5, 7).getTime();

function unscripted(): never {
  throw new BugError("unscripted", "the host was asked for something");
}
const host = new Proxy({}, { get: () => unscripted }) as Host;

/** A clock on which every sleep is over at once, so that a deadline passes on the next turn. */
const hastyClock: Clock = { now: () => NOON, monotonicMs: () => 0, sleep: async () => {} };
const clock: Clock = { ...hastyClock, sleep: () => new Promise(() => {}) };

const params = z.strictObject({ name: z.string(), device: z.string().default("") });

/** A resource over a set of names that are as they should be. */
function thing(
  present: Set<string>,
  options: { readonly stubborn?: boolean; readonly apply?: () => Promise<void> } = {},
) {
  return defineState({
    name: "thing.present",
    summary: "A thing.",
    kind: "resource",
    params,
    check: async ({ name, device }): Promise<readonly Change[]> => {
      if (device !== "" && !present.has(device)) throw new HostError("device-missing", `there is no ${device}`);
      return present.has(name) ? [] : [{ field: "present", from: false, to: true }];
    },
    apply: async ({ name }, context) => {
      await options.apply?.();
      context.note(`made ${name}`);
      if (options.stubborn !== true) present.add(name);
    },
  });
}

function depsWith(states: readonly AnyState[], extra: Partial<EngineDeps> = {}): EngineDeps {
  return {
    id: "m1",
    host,
    clock,
    random: () => 0,
    grains: {},
    pillar: {},
    states: [...STATES, ...states],
    source: async () => undefined,
    leases: { lease: async () => unscripted(), records: () => [] },
    journal: { begin: async () => {}, commit: async () => {}, pending: async () => undefined },
    execution: () => undefined,
    ...extra,
  };
}

async function run(
  sls: string,
  deps: EngineDeps,
  settings: Partial<RunSettings> = {},
): Promise<readonly StateReturn[]> {
  const source = { read: async (path: string) => (path === "a.sls" ? Buffer.from(sls) : undefined) };
  const context = { id: "m1", grains: {}, pillar: {} };
  const compiled = await compile({ kind: "sls", names: ["a"] }, source, context, catalogueOf(deps.states));
  if (compiled.kind === "errors") throw compiled.errors[0] ?? new Error("no error");
  const signal = new AbortController().signal;
  return Object.values(await runStates(compiled.chunks, deps, { test: false, signal, ...settings }));
}

test("a resource is checked, applied and checked again; the second run changes nothing", async () => {
  const deps = depsWith([thing(new Set())]);
  const [first] = await run("x:\n  thing.present: []\n", deps);
  expect(first).toMatchObject({
    __id__: "x",
    __sls__: "a",
    __run_num__: 0,
    __state_ran__: true,
    name: "x",
    result: true,
    changes: { present: { old: false, new: true } },
    comment: "changed present\nmade x",
    start_time: "12:30:05.007000",
  });
  const [second] = await run("x:\n  thing.present: []\n", deps);
  expect(second).toMatchObject({ result: true, changes: {}, comment: "already in the correct state" });
});

test("what is still different after apply is a failure", async () => {
  const [row] = await run("x:\n  thing.present: []\n", depsWith([thing(new Set(), { stubborn: true })]));
  expect(row).toMatchObject({ result: false, comment: expect.stringContaining("still different") });
});

test("an exception is a failed state with its hint, never a dead run", async () => {
  const apply = async () => {
    throw new HostError("command-failed", "cannot make it", { hint: "buy a bigger disk" });
  };
  const [failed, after] = await run(
    "x:\n  thing.present: []\ny:\n  test.nop: []\n",
    depsWith([thing(new Set(), { apply })]),
  );
  expect(failed).toMatchObject({ result: false, changes: {}, comment: "cannot make it\nhint: buy a bigger disk" });
  expect(after).toMatchObject({ result: true });
});

test.each([
  ["device-missing", null, null],
  ["command-missing", null, null],
  ["no-parent", null, null],
  ["device-busy", false, null],
  ["no-such-source", false, null],
  ["wrong-device", false, false],
])("in test mode %s after a change: %s without a requisite, %s with one", async (code, without, required) => {
  const broken = defineState({
    name: "broken.present",
    summary: "A thing that cannot be looked at.",
    kind: "resource",
    params: z.strictObject({ name: z.string() }),
    check: async () => {
      throw new HostError(code, "cannot look");
    },
    apply: async () => {},
  });
  const sls = "before:\n  thing.present: []\nx:\n  broken.present: []\n";
  const deps = depsWith([thing(new Set()), broken]);
  const resultOf = async (text: string) => (await run(text, deps, { test: true })).at(-1)?.result;
  expect(await resultOf(sls)).toBe(without);
  const named = sls.replace("broken.present: []", "broken.present:\n    - require:\n      - thing: before");
  expect(await resultOf(named)).toBe(required);
});

test("nothing is applied in test mode, and a missing device that an earlier state would make is no error", async () => {
  const present = new Set<string>();
  const sls = `disk:
  thing.present: []
fs:
  thing.present:
    - device: disk
    - require:
      - thing: disk
mount:
  thing.present:
    - device: fs
    - require:
      - thing: fs
alone:
  thing.present:
    - device: elsewhere
`;
  const rows = await run(sls, depsWith([thing(present)]), { test: true });
  expect(rows.map(({ result, comment }) => [result, comment])).toEqual([
    [null, "would change present"],
    [null, "would run after disk"],
    [null, "would run after fs"],
    [null, "would run after mount"],
  ]);
  expect(present.size).toBe(0);
  const settled = sls.replaceAll(/^ {4}- require:\n.*\n/gmu, "");
  const rest = await run(settled, depsWith([thing(new Set(["disk", "fs", "mount"]))]), { test: true });
  expect(rest.at(-1)).toMatchObject({ result: false, comment: "there is no elsewhere" });
});

test("a state past its deadline has failed, and the run goes on", async () => {
  const apply = () => new Promise<void>(() => {});
  const deps = depsWith([thing(new Set(), { apply })], { clock: hastyClock });
  const [late, after] = await run("x:\n  thing.present: []\ny:\n  test.nop: []\n", deps, { stateTimeoutMs: 50 });
  expect(late).toMatchObject({ result: false, comment: expect.stringContaining("not done after 50 ms") });
  expect(after?.result).toBe(true);
});

test("an ended run fails what is left as not run", async () => {
  const rows = await run("x:\n  test.nop: []\n", depsWith([]), { signal: AbortSignal.abort() });
  expect(rows).toMatchObject([{ result: false, __state_ran__: false, comment: "not run: the run was ended" }]);
});

function leasing(wipe: boolean): {
  readonly state: AnyState;
  readonly leases: EngineDeps["leases"];
  readonly secret: Secret;
} {
  const records: LeaseRecord[] = [];
  const secret = Secret.take(Buffer.from("a test's own key"));
  const state = defineState({
    name: "thing.opened",
    summary: "Needs a key.",
    kind: "action",
    params,
    predict: async () => ({ result: null, changes: {}, comment: "" }),
    act: async (_params, context) =>
      context.lease("secret:password", "open", { device: "/dev/x" }, async ({ secret: key }) => ({
        result: true,
        changes: { opened: key.length },
        comment: "opened",
      })),
  });
  const lease: EngineDeps["leases"]["lease"] = async (ref, purpose, _subject, use) => {
    const result = await use({ secret, generated: true, version: 1 });
    if (wipe) secret.wipe();
    records.push({ ref, purpose, leasedAt: NOON, usedAt: NOON + 1, wipedAt: NOON + 20 });
    return result;
  };
  return { state, leases: { lease, records: () => records }, secret };
}

test("I5: the return says when the key was leased, used and wiped, and never the key", async () => {
  const { state, leases } = leasing(true);
  const [row] = await run("x:\n  thing.opened: []\n", depsWith([state], { leases }));
  expect(row).toMatchObject({ result: true, comment: "opened\nkey: leased 12:30:05.007 used +1 ms wiped +20 ms" });
  expect(JSON.stringify(row)).not.toContain("a test's own key");
});

test("I5: a key that outlives its state is wiped by the engine, and the state has failed", async () => {
  const { state, leases, secret } = leasing(false);
  const [row] = await run("x:\n  thing.opened: []\n", depsWith([state], { leases }));
  expect(row).toMatchObject({ result: false, comment: expect.stringContaining("was not wiped") });
  expect(secret.wiped).toBe(true);
});

test("what a state mounts is told to the run's leases", async () => {
  const mounted: string[] = [];
  const state = defineState({
    name: "thing.mounted",
    summary: "Mounts.",
    kind: "action",
    params,
    predict: async () => ({ result: null, changes: {}, comment: "" }),
    act: async ({ name }, context) => {
      context.mounted?.(`/dev/${name}`);
      return { result: true, changes: {}, comment: "" };
    },
  });
  const { leases } = depsWith([]);
  const deps = depsWith([state], { leases: { ...leases, mounted: (device) => mounted.push(device) } });
  await run("x:\n  thing.mounted: []\n", deps);
  expect(mounted).toEqual(["/dev/x"]);
});

test("retry tries again until it succeeds, and says what happened before", async () => {
  let attempts = 0;
  const apply = async () => {
    attempts += 1;
    if (attempts < 3) throw new HostError("busy", `busy ${attempts}`);
  };
  const sls = "x:\n  thing.present:\n    - retry: {attempts: 5, interval: 1}\n";
  const [row] = await run(sls, depsWith([thing(new Set(), { apply })], { clock: hastyClock }));
  expect(row).toMatchObject({ result: true, comment: expect.stringContaining("attempt 1: busy 1\nattempt 2: busy 2") });
  expect(attempts).toBe(3);
});

test("progress counts states and names the next", async () => {
  const seen: string[] = [];
  const progress = (done: number, total: number, current: string) => seen.push(`${done}/${total} ${current}`);
  await run("x:\n  test.nop: []\ny:\n  test.nop: []\n", depsWith([]), { progress });
  expect(seen).toEqual(["0/2 test.nop x", "1/2 test.nop y", "2/2 "]);
});

test("commands of a single state of storage are run on the host of its layer, those of others are not", async () => {
  const asked: string[] = [];
  const state = (name: string): AnyState =>
    defineState({
      name,
      summary: "A state.",
      kind: "action",
      params: z.strictObject({ name: z.string() }),
      predict: async () => ({ result: null, changes: {}, comment: "" }),
      act: async (_wanted, context) => {
        await context.host.run(["true"]);
        return { result: true, changes: {}, comment: "" };
      },
    });
  const hostOf = (name: string): Host => ({
    ...host,
    run: async () => {
      asked.push(name);
      return { exitCode: 0, stdout: "", stderr: "", durationMs: 1, truncated: false, pid: 1 };
    },
  });
  const deps = depsWith([state("luks.looked"), state("other.looked")], {
    host: hostOf("plain"),
    volumes: {
      layerHost: () => unscripted(),
      stateHost: (name, subject, layer) => hostOf(`${name} ${subject} ${layer}`),
      assertKeyKept: async () => unscripted(),
      escrowedUuid: async () => unscripted(),
      forgetKey: async () => unscripted(),
      beforeDown: async () => unscripted(),
    },
  });
  await run("a:\n  luks.looked: []\nb:\n  other.looked: []\n", deps);
  expect(asked).toEqual(["luks.looked a luks", "plain"]);
});
