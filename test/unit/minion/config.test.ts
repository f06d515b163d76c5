import { hostname } from "node:os";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../../src/core/errors.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { parseMinionConfig } from "../../../src/minion/config.ts";

const parse = (text: string) => parseMinionConfig(text, "minion.yaml");

test("every setting has a default", () => {
  expect(parse("id: web1")).toMatchObject({
    id: "web1",
    masters: [{ host: "salt", returnPort: 4506 }],
    trustOnFirstUse: true,
    startupStates: "",
    stateDir: "/var/lib/latchkey/minion",
    cacheDir: "/var/lib/latchkey/minion/cache",
    runDir: "/run/latchkey",
  });
  expect(parse("").id).toBe(hostname());
});

test("masters are one or a list, with ports of their own", () => {
  expect(parse("master: [a.example, 'b.example:5506', '[::1]:6506', 'fe80::1']\nmaster_port: 4600").masters).toEqual([
    { host: "a.example", returnPort: 4600 },
    { host: "b.example", returnPort: 5506 },
    { host: "::1", returnPort: 6506 },
    { host: "fe80::1", returnPort: 4600 },
  ]);
});

test("a file with the port that jobs once came on is taken, and it is said that this means nothing", () => {
  expect(parse("id: web1\npublish_port: 4505").unused).toEqual(["publish_port"]);
  expect(parse("id: web1").unused).toEqual([]);
});

test("lesson: 2020-28972 with a pinned fingerprint no other master is trusted on first use", () => {
  const { fingerprint } = generateIdentity();
  expect(parse(`master_finger: ${fingerprint}`)).toMatchObject({ fingerprints: [fingerprint], trustOnFirstUse: false });
  expect(parse("trust_on_first_use: false").trustOnFirstUse).toBe(false);
});

describe("mistakes name file, line and what was meant", () => {
  test.each([
    [
      "unknown setting",
      "id: a\nstartup_state: highstate",
      /unknown setting "startup_state", did you mean "startup_states"/u,
      2,
    ],
    ["wrong value", "id: a\n\nstartup_states: never", /"startup_states"/u, 3],
    ["bad id", "id: ../etc", /cannot use minion id "\.\.\/etc"/u, 1],
    ["bad master", "id: a\nmaster: 'a b'", /cannot use master "a b"/u, 2],
    ["bad port", "master: 'a:99999'", /cannot use master/u, 1],
    ["bad fingerprint", "id: a\nmaster_finger: abc", /cannot read fingerprint "abc"/u, 2],
    ["no SLS", "startup_states: sls", /needs "sls_list"/u, 1],
    ["no map", "- a", /not a map/u, 1],
  ])("%s", (_name, text, message, line) => {
    const thrown = (() => {
      try {
        return parse(text);
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toBeInstanceOf(ConfigError);
    expect((thrown as ConfigError).message).toMatch(message);
    const offending = text.split("\n")[line - 1] ?? "";
    expect((thrown as ConfigError).message).toContain(`(minion.yaml line ${line}): "${offending}"`);
    expect((thrown as ConfigError).facts).toMatchObject({ file: "minion.yaml", line });
  });
});
