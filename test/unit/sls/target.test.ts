import { expect, test } from "vitest";
import { ConfigError } from "../../../src/core/errors.ts";
import { globMatcher } from "../../../src/sls/glob.ts";
import { thrownBy } from "../thrown-by.ts";
import { targetMatcher, type TargetKind } from "../../../src/sls/target.ts";

const subject = {
  id: "web1",
  grains: { os: "Debian", roles: ["db", "web"], ip: { eth0: "10.0.0.1" }, virtual: true },
  pillar: { tier: "a" },
};

const cases: readonly (readonly [TargetKind, string, boolean])[] = [
  ["glob", "*", true],
  ["glob", "web?", true],
  ["glob", "web[0-3]", true],
  ["glob", "web[!0-3]", false],
  ["glob", "WEB1", false],
  ["list", "db1, web1", true],
  ["list", "web", false],
  ["grain", "os:Deb*", true],
  ["grain", "roles:web", true],
  ["grain", "ip:eth0:10.*", true],
  ["grain", "virtual:True", true],
  ["grain", "nosuch:*", false],
  ["pillar", "tier:a", true],
  ["compound", "G@os:Debian and not web2", true],
  ["compound", "( L@a,b or web* ) and G@roles:db", true],
  ["compound", "(L@a,b or web*) and not G@roles:db", false],
  ["compound", "I@tier:b or web1", true],
];

test.each(cases)("%s %s matches: %s", (kind, expr, expected) => {
  expect(targetMatcher(kind, expr)(subject)).toBe(expected);
});

test.each([
  ["glob", ""],
  ["list", " "],
  ["grain", "os"],
  ["grain", ":x"],
  ["compound", "web* and"],
  ["compound", "(web*"],
  ["compound", "a b"],
  ["compound", "E@web.*"],
  ["compound", "not"],
] as const)("lesson: 2022-22941 targeting fails closed: %s %j is an error", (kind, expr) => {
  expect(() => targetMatcher(kind, expr)).toThrow(ConfigError);
});

test("lesson: 2022-22967 what is not known matches nothing", () => {
  expect(targetMatcher("pillar", "tier:a")({ id: "web1", grains: {} })).toBe(false);
});

test("a hostile glob ends in time", () => {
  expect(globMatcher("*a".repeat(200))("a".repeat(5000) + "b")).toBe(false);
});

test("a target of very many parentheses takes no longer than any other", () => {
  for (const expr of [`web1${")".repeat(300_000)}`, `${"(".repeat(300_000)}web1`]) {
    expect(thrownBy(() => targetMatcher("compound", expr))).toMatchObject({ code: "bad-target" });
  }
  // a name that nobody has
  expect(targetMatcher("compound", `${")".repeat(300_000)}x`)(subject)).toBe(false);
});
