import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../../../../src/master/policy/decide.ts";
import { evaluateHere } from "../../../../src/master/policy/expression.ts";
import type { ReleaseFacts, Verdict } from "../../../../src/master/policy/facts.ts";
import { compilePolicy } from "../../../../src/master/policy/rules.ts";

const WEDNESDAY_NOON = Date.parse("2026-01-07T12:00:00Z");

const quiet: ReleaseFacts = {
  minionId: "storage-1",
  nodegroups: [],
  secret: "disk:password",
  purpose: "open",
  makesKey: false,
  address: "10.1.2.3",
  now: WEDNESDAY_NOON,
  leasesThisBoot: 0,
  opensThisBoot: 0,
  newBoot: true,
  everLeased: false,
  rebootAnnounced: false,
  silentMs: 0,
  cipher: "aes-xts-plain64",
  sectorSize: 4096,
  integrity: "",
  headerKnown: true,
  leasesInDay: 0,
  approvals: [],
  askers: [],
  grains: {},
};

const by = (...operators: string[]) => operators.map((operator) => ({ operator, at: WEDNESDAY_NOON }));
const at = (iso: string) => Date.parse(iso);

type Row = readonly [facts: Partial<ReleaseFacts>, verdict: Verdict, reason: string];

/** A rule (or several) beside the facts it is tried with. */
const TABLE: readonly { readonly title: string; readonly rules: readonly object[]; readonly rows: readonly Row[] }[] = [
  {
    title: "an empty file denies",
    rules: [],
    rows: [
      [{}, "deny", "no-rule"],
      [{ approvals: by("ann", "bob") }, "deny", "no-rule"],
    ],
  },
  {
    title: "hosts by glob and list",
    rules: [{ name: "r", match: { hosts: ["storage-*", "db1"] } }],
    rows: [
      [{}, "allow", "rule"],
      [{ minionId: "db1" }, "allow", "rule"],
      [{ minionId: "db12" }, "deny", "no-rule"],
      [{ minionId: "Storage-1" }, "deny", "no-rule"],
      [{ minionId: "evil.storage-1" }, "deny", "no-rule"],
    ],
  },
  {
    title: "node groups",
    rules: [{ name: "r", match: { nodegroups: ["vaults"] } }],
    rows: [
      [{ nodegroups: ["vaults"] }, "allow", "rule"],
      [{ nodegroups: ["others"] }, "deny", "no-rule"],
      [{}, "deny", "no-rule"],
    ],
  },
  {
    title: "secrets by glob",
    rules: [{ name: "r", match: { secrets: "disk:*" } }],
    rows: [
      [{}, "allow", "rule"],
      [{ secret: "disk" }, "deny", "no-rule"],
      [{ secret: "tls:key" }, "deny", "no-rule"],
    ],
  },
  {
    title: "purposes",
    rules: [{ name: "r", match: { purposes: ["open", "rotate"] } }],
    rows: [
      [{}, "allow", "rule"],
      [{ purpose: "rotate" }, "allow", "rule"],
      [{ purpose: "format" }, "deny", "no-rule"],
    ],
  },
  {
    title: "networks",
    rules: [{ name: "r", match: { networks: ["10.1.0.0/16", "2001:db8::/32", "192.0.2.7"] } }],
    rows: [
      [{}, "allow", "rule"],
      [{ address: "10.2.0.1" }, "deny", "no-rule"],
      [{ address: "::ffff:10.1.9.9" }, "allow", "rule"],
      [{ address: "2001:db8:1::5" }, "allow", "rule"],
      [{ address: "2001:db9::5" }, "deny", "no-rule"],
      [{ address: "192.0.2.7" }, "allow", "rule"],
      [{ address: "192.0.2.8" }, "deny", "no-rule"],
      [{ address: "" }, "deny", "no-rule"],
      [{ address: "10.1.2.3.evil" }, "deny", "no-rule"],
    ],
  },
  {
    title: "office hours in Berlin",
    rules: [
      {
        name: "r",
        match: {
          when: { days: ["mon", "tue", "wed", "thu", "fri"], from: "08:00", to: "18:00", zone: "Europe/Berlin" },
        },
      },
    ],
    rows: [
      [{ now: at("2026-01-07T07:00:00Z") }, "allow", "rule"],
      [{ now: at("2026-01-07T06:59:59Z") }, "deny", "no-rule"],
      [{ now: at("2026-01-07T17:00:00Z") }, "deny", "no-rule"],
      [{ now: at("2026-01-07T16:59:00Z") }, "allow", "rule"],
      // summer time: the same wall clock, another hour of UTC
      [{ now: at("2026-07-08T06:00:00Z") }, "allow", "rule"],
      [{ now: at("2026-07-08T16:30:00Z") }, "deny", "no-rule"],
      [{ now: at("2026-01-10T12:00:00Z") }, "deny", "no-rule"],
    ],
  },
  {
    title: "a window over midnight belongs to its first day",
    rules: [{ name: "r", match: { when: { days: ["fri"], from: "22:00", to: "04:00" } } }],
    rows: [
      [{ now: at("2026-01-09T22:00:00Z") }, "allow", "rule"],
      [{ now: at("2026-01-10T03:59:00Z") }, "allow", "rule"],
      [{ now: at("2026-01-10T04:00:00Z") }, "deny", "no-rule"],
      [{ now: at("2026-01-09T03:00:00Z") }, "deny", "no-rule"],
      [{ now: at("2026-01-10T22:30:00Z") }, "deny", "no-rule"],
    ],
  },
  {
    title: "once a boot",
    rules: [{ name: "r", require: { once_a_boot: true } }],
    rows: [
      [{}, "allow", "rule"],
      [{ leasesThisBoot: 1, newBoot: false }, "hold", "once-a-boot"],
      [{ leasesThisBoot: 1, newBoot: false, approvals: by("ann") }, "allow", "approved"],
      [{ leasesThisBoot: 1, newBoot: false, approvals: by("ann"), askers: ["ann"] }, "hold", "approvals"],
    ],
  },
  {
    title: "announced reboots",
    rules: [{ name: "r", require: { announced_reboot: true } }],
    rows: [
      [{}, "allow", "rule"],
      [{ everLeased: true, newBoot: false }, "allow", "rule"],
      [{ everLeased: true, newBoot: true }, "hold", "unannounced-reboot"],
      [{ everLeased: true, newBoot: true, rebootAnnounced: true }, "allow", "rule"],
    ],
  },
  {
    title: "liveness",
    rules: [{ name: "r", require: { liveness: "10m" } }],
    rows: [
      [{}, "allow", "rule"],
      [{ silentMs: 600_000 }, "allow", "rule"],
      [{ silentMs: 600_001 }, "hold", "liveness"],
    ],
  },
  {
    title: "budget",
    rules: [{ name: "r", require: { budget_per_day: 3 } }],
    rows: [
      [{ leasesInDay: 2 }, "allow", "rule"],
      [{ leasesInDay: 3 }, "hold", "budget"],
      [{ leasesInDay: 300 }, "hold", "budget"],
      [{ purpose: "format", leasesInDay: 3 }, "hold", "budget"],
    ],
  },
  {
    title: "two of three approvals",
    rules: [{ name: "r", require: { approvals: { count: 2, of: ["ann", "bob", "cyd"] } } }],
    rows: [
      [{}, "hold", "approvals"],
      [{ approvals: by("ann") }, "hold", "approvals"],
      [{ approvals: by("ann", "ann") }, "hold", "approvals"],
      [{ approvals: by("ann", "dan") }, "hold", "approvals"],
      [{ approvals: by("ann", "bob") }, "allow", "approved"],
      [{ approvals: by("ann", "bob"), askers: ["bob"] }, "hold", "approvals"],
      [{ approvals: by("ann", "bob", "cyd"), askers: ["bob"] }, "allow", "approved"],
      [{ approvals: by("Ann", "bob") }, "hold", "approvals"],
    ],
  },
  {
    title: "approvals for the rule do not lift what others must lift",
    rules: [
      {
        name: "r",
        require: { once_a_boot: true, approvals: { count: 1, of: ["ann"] } },
        lift: { count: 2, of: ["bob", "cyd"] },
      },
    ],
    rows: [
      [{ approvals: by("ann") }, "allow", "approved"],
      [{ leasesThisBoot: 1, approvals: by("ann") }, "hold", "once-a-boot"],
      [{ leasesThisBoot: 1, approvals: by("bob", "cyd") }, "hold", "approvals"],
      [{ leasesThisBoot: 1, approvals: by("ann", "bob", "cyd") }, "allow", "approved"],
    ],
  },
  {
    title: "the first rule that matches decides",
    rules: [
      { name: "never", match: { hosts: "storage-9" }, verdict: "deny" },
      { name: "ask", match: { purposes: ["format"] }, verdict: "hold" },
      { name: "rest", match: { hosts: "storage-*" } },
    ],
    rows: [
      [{}, "allow", "rule"],
      [{ minionId: "storage-9" }, "deny", "rule"],
      [{ minionId: "storage-9", approvals: by("ann", "bob") }, "deny", "rule"],
      [{ purpose: "format" }, "hold", "rule"],
      [{ purpose: "format", approvals: by("ann") }, "allow", "approved"],
      [{ minionId: "web-1" }, "deny", "no-rule"],
    ],
  },
  {
    title: "CEL over the facts",
    rules: [{ name: "r", match: { validator: 'instance.name.startsWith("storage") && request.leasesInDay < 5' } }],
    rows: [
      [{}, "allow", "rule"],
      [{ minionId: "web-1" }, "deny", "no-rule"],
      [{ leasesInDay: 5 }, "deny", "no-rule"],
    ],
  },
  {
    title: "CEL over claims that are not there, or not of the type, is no match",
    rules: [{ name: "r", match: { validator: 'instance.grains.rack == "r1"' } }],
    rows: [
      [{ grains: { rack: "r1" } }, "allow", "rule"],
      [{ grains: { rack: "r2" } }, "deny", "no-rule"],
      [{}, "deny", "no-rule"],
      [{ grains: { rack: 7 } }, "deny", "no-rule"],
    ],
  },
  {
    title: "a deny whose expression cannot be evaluated denies, and a hold holds",
    rules: [
      { name: "no", match: { hosts: "storage-*", validator: 'instance.grains.quarantine == "yes"' }, verdict: "deny" },
      { name: "ask", match: { hosts: "web-*", validator: "instance.grains.level > 3" }, verdict: "hold" },
      { name: "rest" },
    ],
    rows: [
      [{ grains: { quarantine: "no" } }, "allow", "rule"],
      [{ grains: { quarantine: "yes" } }, "deny", "rule"],
      [{}, "deny", "validator-failed"],
      [{ minionId: "web-1", grains: { level: 1 } }, "allow", "rule"],
      [{ minionId: "web-1", grains: { level: "1" } }, "hold", "validator-failed"],
      [{ minionId: "web-1", grains: { level: "1" }, approvals: by("ann") }, "allow", "validator-failed"],
      [{ minionId: "db-1" }, "allow", "rule"],
    ],
  },
  {
    title: "an allow whose expression cannot be evaluated is passed over, and the reasons say so",
    rules: [
      { name: "r", match: { validator: 'instance.grains.rack == "r1"' } },
      { name: "rest", verdict: "hold" },
    ],
    rows: [
      [{ grains: { rack: "r1" } }, "allow", "rule"],
      [{ grains: { rack: "r2" } }, "hold", "approvals"],
      [{}, "hold", "validator-failed"],
    ],
  },
  {
    title: "several unmet requirements are all named",
    rules: [{ name: "r", require: { once_a_boot: true, liveness: "1m", budget_per_day: 1 } }],
    rows: [
      [{ leasesThisBoot: 1, silentMs: 90_000, leasesInDay: 1 }, "hold", "once-a-boot"],
      [{ leasesThisBoot: 1, silentMs: 90_000, leasesInDay: 1 }, "hold", "liveness"],
      [{ leasesThisBoot: 1, silentMs: 90_000, leasesInDay: 1 }, "hold", "budget"],
    ],
  },
];

describe.each(TABLE)("$title", ({ rules, rows }) => {
  const policy = compilePolicy({ rules });
  test.each(rows)("%j: %s (%s)", (facts, verdict, code) => {
    const decision = decide(policy, { ...quiet, ...facts }, evaluateHere);
    expect(decision.verdict).toBe(verdict);
    expect(decision.reasons.map((reason) => reason.code)).toContain(code);
  });
});

test("a lease that hands out a key is decided as an open too, and the approvals of one hold count for both", () => {
  const policy = compilePolicy({
    rules: [
      { name: "checks", match: { purposes: ["check"] }, require: { approvals: { count: 1 } } },
      { name: "opens", match: { purposes: ["open"] }, require: { approvals: { count: 2 }, liveness: "1m" } },
    ],
  });
  const facts = { ...quiet, purpose: "check" as const };
  const said = (more: Partial<ReleaseFacts>) => {
    const { verdict, rule, reasons, approvalsNeeded } = decide(policy, { ...facts, ...more }, evaluateHere);
    return [verdict, rule, reasons.map(({ code }) => code).join(" "), approvalsNeeded?.count];
  };
  expect(said({})).toEqual(["hold", "checks", "approvals as-open", 1]);
  expect(said({ approvals: by("ann") })).toEqual(["hold", "checks", "approved as-open approvals", 2]);
  expect(said({ approvals: by("ann", "bob") })).toEqual(["allow", "checks", "approved as-open", undefined]);
  expect(said({ silentMs: 90_000 })).toEqual(["hold", "checks", "approvals as-open liveness", 1]);
  expect(said({ makesKey: true })).toEqual(["hold", "checks", "approvals", 1]);
});

test("the table has at least 60 cases", () => {
  expect(TABLE.flatMap(({ rows }) => rows).length).toBeGreaterThanOrEqual(60);
});

test("without a policy a host may have what its own pillar names", () => {
  expect(decide(undefined, quiet, evaluateHere)).toMatchObject({ verdict: "allow", reasons: [{ code: "no-policy" }] });
});

test("explain names why each earlier rule was passed over", () => {
  const policy = compilePolicy({
    rules: [
      { name: "a", match: { hosts: "web-*" } },
      { name: "b", match: { purposes: ["format"] } },
    ],
  });
  expect(decide(policy, quiet, evaluateHere).passedOver.map(({ rule, reason }) => [rule, reason.code])).toEqual([
    ["a", "host"],
    ["b", "purpose"],
  ]);
});

test.each([
  ["an unknown word", { rules: [{ name: "r", requires: {} }] }, "rules.0"],
  ["a bad network", { rules: [{ name: "r", match: { networks: ["10.0.0.0/33"] } }] }, "rules.0.match.networks.0"],
  ["a bad zone", { rules: [{ name: "r", match: { when: { zone: "Mars/Olympus" } } }] }, "rules.0.match.when.zone"],
  ["a bad time", { rules: [{ name: "r", match: { when: { from: "25:00" } } }] }, "rules.0.match.when.from"],
  [
    "more approvals than operators",
    { rules: [{ name: "r", require: { approvals: { count: 3, of: ["ann", "bob"] } } }] },
    "rules.0.require.approvals",
  ],
  [
    "a budget that is not counted so far",
    { rules: [{ name: "r", require: { budget_per_day: 2001 } }] },
    "rules.0.require.budget_per_day",
  ],
  ["a name twice", { rules: [{ name: "r" }, { name: "r" }] }, "rules.1.name"],
  ["a bad duration", { rules: [{ name: "r", require: { liveness: "soon" } }] }, "rules.0.require.liveness"],
])("%s is refused, its place named", (_title, file, path) => {
  expect(() => compilePolicy(file)).toThrow(expect.objectContaining({ code: "bad-release-policy", facts: { path } }));
});

test.each([
  'instance.name.startsWith("storage") && instance.address != ""',
  '"db" in instance.nodegroups || request.approvals.exists(who, who == "ann")',
  'has(instance.grains.rack) && instance.grains.rack == "r1"',
  "instance.grains.flag",
  'request.time > timestamp("2020-01-01T00:00:00Z") && request.time.getHours("Europe/Berlin") < 18',
  "request.newBoot && !request.everLeased && !request.rebootAnnounced",
  "request.silentSeconds < 600 && request.leasesThisBoot == 0 && request.leasesInDay < 3",
  'request.secret == "disk" || request.purpose in ["open", "check"]',
])("expression %s is taken", (validator) => {
  const policy = compilePolicy({
    rules: [
      { name: "r", match: { validator } },
      { name: "rest", verdict: "hold" },
    ],
  });
  const { reasons } = decide(policy, { ...quiet, grains: { rack: "r1", flag: true } }, evaluateHere);
  expect(reasons.map(({ code }) => code)).not.toContain("validator-failed");
});

test("approvals only ever lift: a deny stays, and more approvals never take a key away", () => {
  const policy = compilePolicy({
    rules: [
      { name: "no", match: { hosts: "web-*" }, verdict: "deny" },
      { name: "yes", require: { once_a_boot: true, liveness: "1m", approvals: { count: 2, of: ["a", "b", "c"] } } },
    ],
  });
  const rank = { deny: 0, hold: 1, allow: 2 };
  fc.assert(
    fc.property(
      fc.constantFrom("web-1", "db-1"),
      fc.nat(2),
      fc.nat(120_000),
      fc.subarray(["a", "b", "c", "d"]),
      fc.constantFrom("a", "b", "c", "d"),
      fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined }),
      (minionId, leasesThisBoot, silentMs, operators, extra, asker) => {
        const facts = { ...quiet, minionId, leasesThisBoot, silentMs, askers: asker === undefined ? [] : [asker] };
        const before = decide(policy, { ...facts, approvals: by(...operators) }, evaluateHere).verdict;
        const after = decide(policy, { ...facts, approvals: by(...operators, extra) }, evaluateHere).verdict;
        expect(rank[after]).toBeGreaterThanOrEqual(rank[before]);
        const counted = new Set(operators.filter((name) => name !== "d" && name !== asker)).size;
        const wanted = counted >= 2 ? "allow" : "hold";
        expect(before).toBe(minionId === "web-1" ? "deny" : wanted);
      },
    ),
  );
});
