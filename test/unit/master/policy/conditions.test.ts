import { expect, test } from "vitest";
import { toJSONSchema } from "zod";
import { settledBy } from "../../../../src/master/policy/apply-rules.ts";
import { decide } from "../../../../src/master/policy/decide.ts";
import { evaluateHere } from "../../../../src/master/policy/expression.ts";
import type { ReleaseFacts, Verdict } from "../../../../src/master/policy/facts.ts";
import { compilePolicy, releaseFileSchema } from "../../../../src/master/policy/rules.ts";

const known: ReleaseFacts = {
  minionId: "storage-1",
  nodegroups: ["vaults"],
  secret: "disk:password",
  purpose: "open",
  makesKey: false,
  address: "10.1.2.3",
  now: Date.parse("2026-01-07T12:00:00Z"),
  leasesThisBoot: 0,
  opensThisBoot: 0,
  newBoot: false,
  everLeased: true,
  rebootAnnounced: false,
  silentMs: 0,
  cipher: "aes-xts-plain64",
  sectorSize: 4096,
  integrity: "",
  headerKnown: true,
  leasesInDay: 0,
  approvals: [],
  askers: [],
  grains: { rack: "r1" },
};
type Facts = Partial<ReleaseFacts>;
type Truth = "no" | "unknown" | "yes";

/** Every condition of `match`, with facts under which it holds, does not, and cannot be told. */
const CONDITIONS: Readonly<Record<string, { readonly wanted: unknown } & { readonly [T in Truth]: readonly Facts[] }>> =
  {
    hosts: {
      wanted: "storage-*",
      yes: [{}],
      no: [{ minionId: "web-1" }],
      unknown: [{ minionId: "" }],
    },
    nodegroups: {
      wanted: ["vaults", "nosuch"],
      yes: [{}],
      // a group that the file does not know may be any
      no: [],
      unknown: [{ nodegroups: [] }, { nodegroups: ["web"] }],
    },
    secrets: {
      wanted: ["disk:*"],
      yes: [{}],
      no: [{ secret: "tls:key" }],
      unknown: [{ secret: "" }],
    },
    purposes: {
      wanted: ["open"],
      yes: [{}],
      no: [{ purpose: "format", makesKey: true }],
      unknown: [{ purpose: "nosuch" as "open" }, { purpose: "" as "open" }],
    },
    networks: {
      wanted: ["10.1.0.0/16", "fe80::/10", "::ffff:192.0.2.0/120"],
      yes: [
        {},
        { address: "::ffff:10.1.2.3" },
        { address: "::ffff:a01:203" },
        { address: "::FFFF:0a01:0203%eth0" },
        { address: "fe80::1%eth0" },
        { address: "192.0.2.7" },
        { address: "::ffff:c000:207" },
      ],
      no: [
        { address: "10.2.0.1" },
        { address: "::ffff:10.2.0.1" },
        { address: "2001:db8::1%3" },
        { address: "192.0.3.1" },
      ],
      unknown: ["", "host.example", "10.1.2.3.4", "10.1.2.3:80", "010.1.2.3", "%eth0", "[fe80::1]"].map((address) => ({
        address,
      })),
    },
    when: {
      wanted: { days: ["wed"], from: "08:00", to: "18:00" },
      yes: [{}],
      no: [{ now: Date.parse("2026-01-08T12:00:00Z") }],
      // no clock, and one that a master without a battery starts with
      unknown: [{ now: Number.NaN }, { now: Number.POSITIVE_INFINITY }, { now: 0 }, { now: Date.UTC(2010, 0, 6, 12) }],
    },
    validator: {
      wanted: 'instance.grains.rack == "r1" && request.silentSeconds < 5 && instance.address != "10.9.9.9"',
      yes: [{}],
      // CEL: what is of another type is not equal
      no: [{ grains: { rack: "r2" } }, { grains: { rack: 7 } }],
      unknown: [{ grains: {} }, { grains: null }, { silentMs: null }, { address: "" }],
    },
  };

const VERDICTS: readonly Verdict[] = ["allow", "hold", "deny"];
const OTHER: Readonly<Record<Verdict, Verdict>> = { allow: "deny", hold: "allow", deny: "allow" };
const rows = Object.entries(CONDITIONS).flatMap(([name, { wanted, ...facts }]) =>
  (["yes", "no", "unknown"] as const).flatMap((truth) =>
    facts[truth].flatMap((fact) => VERDICTS.map((verdict) => ({ name, wanted, truth, fact, verdict }))),
  ),
);

test.each(rows)(
  "$name that is $truth in a rule that says $verdict: $fact",
  ({ name, wanted, truth, fact, verdict }) => {
    const rule = { name: "asked", match: { [name]: wanted }, verdict };
    const policy = compilePolicy({
      nodegroups: { vaults: ["storage-*"], web: ["web-*"] },
      rules: [rule, { name: "rest", verdict: OTHER[verdict] }],
    });
    const decided = decide(policy, { ...known, ...fact }, evaluateHere);
    const matches = truth === "yes" || (truth === "unknown" && verdict !== "allow");
    expect(decided.rule).toBe(matches ? "asked" : "rest");
    expect(decided.verdict).toBe(matches ? verdict : OTHER[verdict]);
    const isNamed = decided.reasons.some(({ code }) => code.endsWith("-unknown") || code === "validator-failed");
    expect(isNamed).toBe(truth === "unknown");
  },
);

/** Every requirement but approvals, with facts under which it is met, is not, and cannot be told. */
const REQUIREMENTS: Readonly<
  Record<string, { readonly wanted: unknown } & { readonly [T in Truth]: readonly Facts[] }>
> = {
  once_a_boot: {
    wanted: true,
    yes: [{}],
    no: [{ leasesThisBoot: 1 }],
    unknown: [{ leasesThisBoot: null }],
  },
  announced_reboot: {
    wanted: true,
    yes: [
      {},
      { newBoot: true, rebootAnnounced: true },
      { newBoot: null, rebootAnnounced: true },
      { newBoot: null, everLeased: false },
      { newBoot: false, rebootAnnounced: null },
    ],
    no: [{ newBoot: true }],
    unknown: [{ newBoot: null }, { newBoot: true, rebootAnnounced: null }, { newBoot: null, rebootAnnounced: null }],
  },
  liveness: {
    wanted: "10m",
    yes: [{ silentMs: 600_000 }],
    no: [{ silentMs: 600_001 }],
    unknown: [{ silentMs: null }, { silentMs: Number.NaN }],
  },
  budget_per_day: {
    wanted: 3,
    yes: [{ leasesInDay: 2 }],
    no: [{ leasesInDay: 3 }],
    unknown: [{ leasesInDay: null }],
  },
};
const required = Object.entries(REQUIREMENTS).flatMap(([name, { wanted, ...facts }]) =>
  (["yes", "no", "unknown"] as const).flatMap((truth) => facts[truth].map((fact) => ({ name, wanted, truth, fact }))),
);

test.each(required)("requirement $name that is met: $truth, with $fact", ({ name, wanted, truth, fact }) => {
  const policy = compilePolicy({ rules: [{ name: "asked", require: { [name]: wanted } }] });
  const facts = { ...known, ...fact };
  const decided = decide(policy, facts, evaluateHere);
  expect(decided.verdict).toBe(truth === "yes" ? "allow" : "hold");
  expect(decided.reasons.some(({ code }) => code.endsWith("-unknown"))).toBe(truth === "unknown");
  const settled = settledBy(policy, facts, { ...decided, reasons: [] });
  const isSettled = name === "liveness" ? settled.silence : name === "announced_reboot" ? settled.boot : true;
  expect(isSettled).toBe(truth === "yes" || (name !== "liveness" && name !== "announced_reboot"));
});

test("a rule that may be about the host has its say in what a lease settles", () => {
  const require = { liveness: "10m", announced_reboot: true };
  const policy = compilePolicy({
    rules: [{ name: "all" }, { name: "strict", match: { nodegroups: "nosuch" }, require }],
  });
  const facts = { ...known, silentMs: 700_000, newBoot: true };
  expect(settledBy(policy, facts, decide(policy, facts, evaluateHere))).toEqual({ boot: false, silence: false });
});

test("every condition and requirement that a file can have is in these tables", () => {
  const { properties } = toJSONSchema(releaseFileSchema, { io: "input" });
  const keysAt = (...path: readonly string[]) => {
    let at: unknown = properties?.["rules"];
    for (const step of path) at = (at as Readonly<Record<string, unknown>>)[step];
    return Object.keys(at as object).toSorted();
  };
  const condition = keysAt("items", "properties", "match", "properties");
  expect(condition).toEqual(Object.keys(CONDITIONS).toSorted());
  const requirement = keysAt("items", "properties", "require", "properties");
  expect(requirement).toEqual([...Object.keys(REQUIREMENTS), "approvals"].toSorted());
});
