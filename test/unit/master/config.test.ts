import { expect, test } from "vitest";
import { loadMasterConfig, parseMasterConfig } from "../../../src/master/config.ts";

test("every key has a default", () => {
  expect(parseMasterConfig("", "master.yaml")).toMatchObject({
    interface: "0.0.0.0",
    ret_port: 4506,
    file_roots: { base: ["/srv/latchkey/states"] },
    pillar_roots: { base: ["/srv/latchkey/pillar"] },
    auto_accept: false,
    state_dir: "/var/lib/latchkey/master",
    socket: "/run/latchkey-master/control.sock",
    socket_access: "owner",
  });
});

test("takes Salt's names, the one among them that has no use any more", () => {
  const config = parseMasterConfig("interface: 127.0.0.1\npublish_port: 4505\nfile_roots:\n  base: [/a, /b]\n", "m");
  expect(config).toMatchObject({ interface: "127.0.0.1", publish_port: 4505, file_roots: { base: ["/a", "/b"] } });
});

test.each([
  [
    "an unknown key, and the one that was meant",
    "interface: 127.0.0.1\nauto_acept: true\n",
    /"auto_acept".*"auto_accept"/u,
    2,
  ],
  ["an unknown environment", "file_roots:\n  dev: [/a]\n", /dev|base/u, undefined],
  ["a port that is none", "\nret_port: 70000\n", /ret_port/u, 2],
  ["a relative path", "state_dir: here\n", /absolute/u, 1],
  ["a quoted boolean", 'auto_accept: "yes"\n', /auto_accept/u, 1],
  ["a list in place of a map", "- a\n", /map/u, 1],
  ["broken YAML", "a: [\n", /YAML/u, undefined],
])("refuses %s", (_what, text, message, line) => {
  const facts = line === undefined ? {} : { line };
  expect(() => parseMasterConfig(text, "/etc/latchkey/master.yaml")).toThrow(
    expect.objectContaining({
      name: "ConfigError",
      message: expect.stringMatching(message),
      facts: expect.objectContaining({ file: "/etc/latchkey/master.yaml", ...facts }),
    }),
  );
});

test("a named file that is not there is an error", async () => {
  await expect(loadMasterConfig("/nonexistent/master.yaml")).rejects.toMatchObject({
    code: "bad-config",
    message: 'cannot read the configuration "/nonexistent/master.yaml": no such file',
  });
});
