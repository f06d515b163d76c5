import { expect, test } from "vitest";
import { STATES } from "../../../src/states/registry.ts";
import type { ApplyContext, Change, Outcome } from "../../../src/states/state.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const SHOW = ["systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", "--", "mariadb"];
const status = (load: string, active: string, enabled: string) => ({
  stdout: `LoadState=${load}\nActiveState=${active}\nUnitFileState=${enabled}\n`,
});

function contextOf(host: FakeHost): ApplyContext {
  const unused = () => Promise.reject(new Error("not in this test"));
  return {
    host,
    grains: {},
    pillar: {},
    signal: new AbortController().signal,
    source: unused,
    render: (template) => template,
    leases: () => [],
    pending: unused,
    lease: unused,
    begin: unused,
    commit: unused,
    reached: () => {},
    note: () => {},
  };
}

function resource(name: string) {
  const state = STATES.find((candidate) => candidate.name === name);
  if (state?.kind !== "resource") throw new Error(`${name} is no resource`);
  return state;
}

async function applied(
  name: string,
  params: Readonly<Record<string, unknown>>,
  host: FakeHost,
): Promise<readonly Change[]> {
  const state = resource(name);
  const parsed = state.params.parse(params);
  const changes = await state.check(parsed, contextOf(host));
  if (changes.length > 0) await state.apply(parsed, contextOf(host), changes);
  return changes;
}

const verbs = (host: FakeHost): readonly string[] =>
  host.runs.map(({ argv }) => argv[1] ?? "").filter((verb) => verb !== "show");

const CASES = [
  ["service.running", {}, status("loaded", "active", "enabled"), []],
  ["service.running", {}, status("loaded", "inactive", "disabled"), ["start"]],
  ["service.running", { enable: true }, status("loaded", "failed", "disabled"), ["enable", "start"]],
  ["service.running", { enable: true }, status("loaded", "active", "static"), []],
  ["service.running", { enable: false }, status("loaded", "active", "enabled"), ["disable"]],
  ["service.running", { enable: false }, status("loaded", "active", "static"), []],
  ["service.disabled", {}, status("loaded", "inactive", "masked"), []],
  ["service.dead", {}, status("loaded", "active", "enabled"), ["stop"]],
  ["service.dead", { enable: false }, status("loaded", "inactive", "enabled"), ["disable"]],
  ["service.dead", {}, status("not-found", "inactive", ""), []],
  ["service.enabled", {}, status("loaded", "inactive", "disabled"), ["enable"]],
  ["service.enabled", {}, status("loaded", "inactive", "enabled"), []],
  ["service.disabled", {}, status("loaded", "active", "enabled"), ["disable"]],
  ["service.disabled", {}, status("not-found", "inactive", ""), []],
] as const;

test.each(CASES)("%s %j on %j runs %j", async (name, params, shown, expected) => {
  const host = new FakeHost().on(SHOW, shown);
  for (const verb of ["start", "stop", "enable", "disable"]) host.on(["systemctl", verb, "--quiet", "--", "mariadb"]);
  const changes = await applied(name, { name: "mariadb", ...params }, host);
  expect(verbs(host)).toEqual(expected);
  expect(changes).toHaveLength(expected.length);
});

test("a service that does not exist, or is masked, is an error that says so", async () => {
  const missing = new FakeHost().on(SHOW, status("not-found", "inactive", ""));
  await expect(applied("service.running", { name: "mariadb" }, missing)).rejects.toMatchObject({
    code: "service-missing",
  });
  const masked = new FakeHost().on(SHOW, status("masked", "inactive", "masked"));
  await expect(applied("service.running", { name: "mariadb" }, masked)).rejects.toMatchObject({
    code: "service-masked",
  });
});

test.each([
  [false, "restart"],
  [true, "reload-or-restart"],
])("a fired watch with reload %s does a %s", async (reload, verb) => {
  const host = new FakeHost().on(["systemctl", verb, "--quiet", "--", "mariadb"]);
  const state = resource("service.running");
  const parsed = state.params.parse({ name: "mariadb", reload });
  const outcome: Outcome | undefined = await state.react?.(parsed, contextOf(host));
  expect(outcome).toMatchObject({ result: true });
  expect(verbs(host)).toEqual([verb]);
});
