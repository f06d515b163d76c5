import { readdirSync, readFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import type { Host } from "../../src/core/host.ts";
import { readLuksHeader } from "../../src/states/devices/luks-header.ts";
import { Machine } from "./support/machine.ts";
import { humanKey, machineKey, StateRun, type TestKey } from "./support/state-run.ts";

const machine = new Machine();
afterAll(() => machine.dispose());

/** The key as text that a command line or an environment could hold. */
const needlesOf = ({ bytes }: TestKey): readonly string[] => [
  bytes.toString("latin1"),
  bytes.toString("hex"),
  bytes.toString("base64").replace(/=+$/u, ""),
];

/** Command lines and environments of all processes right now. */
function snapshot(): string {
  const texts: string[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/u.test(name))) {
    for (const file of ["cmdline", "environ"]) {
      try {
        texts.push(readFileSync(`/proc/${pid}/${file}`, "latin1"));
      } catch {
        // the process has ended
      }
    }
  }
  return texts.join("\n");
}

/** A host that looks at all processes while each command runs, and keeps what the commands said. */
function watched(host: Host): { readonly host: Host; readonly seen: string[]; readonly samples: () => number } {
  const seen: string[] = [];
  let samples = 0;
  return {
    seen,
    samples: () => samples,
    host: {
      ...host,
      run: async (argv, options) => {
        const looking = setInterval(() => {
          seen.push(snapshot());
          samples += 1;
        }, 10);
        try {
          const result = await host.run(argv, options);
          seen.push(argv.join(" "), result.stdout, result.stderr);
          return result;
        } finally {
          clearInterval(looking);
        }
      },
    },
  };
}

test("I5: a key is in no command line, no environment and no output while it formats and opens", async () => {
  const disk = await machine.disk(8);
  const key = { bytes: Buffer.from("planted-key-material-0123456789ab"), generated: true };
  const watch = watched(machine.host);
  const run = new StateRun(watch.host, machine.directory, { "secret:password": key });
  const format = await run.apply("luks.formatted", { name: disk, key: "secret:password" });
  const open = await run.apply("luks.opened", { name: machine.name("w"), device: disk, key: "secret:password" });
  expect(watch.samples()).toBeGreaterThan(4);
  const everything = [...watch.seen, JSON.stringify([format, open, run.notes, run.leases])].join("\n");
  // the samples do see the commands that got the key
  expect(everything).toContain("luksFormat");
  expect(everything).toContain("--key-file=-");
  for (const needle of needlesOf(key)) expect(everything.includes(needle)).toBe(false);
  expect(run.secrets.every(({ wiped }) => wiped)).toBe(true);
  const tables = await machine.sh("dmsetup", "table", "--showkeys", machine.name("w"));
  for (const needle of needlesOf(key)) expect(tables.includes(needle)).toBe(false);
  await machine.sh("cryptsetup", "close", machine.name("w"));
});

test("I5: a key is wiped also when the format or the open fails", async () => {
  const disk = await machine.disk(8);
  const keys = { "secret:password": machineKey() };
  const failing: Host = {
    ...machine.host,
    run: (argv, options) =>
      argv[0] === "cryptsetup" ? Promise.reject(new Error("no")) : machine.host.run(argv, options),
  };
  const run = new StateRun(failing, machine.directory, keys);
  await expect(run.apply("luks.formatted", { name: disk, key: "secret:password" })).rejects.toThrow("no");
  expect(run.secrets.map(({ wiped }) => wiped)).toEqual([true]);
});

test("a key that a person chose gets argon2id; keys with line breaks and zero bytes open what they formatted", async () => {
  const chosen = humanKey();
  const odd = { bytes: Buffer.from("a\n\0b\n"), generated: true };
  const keys = { "secret:chosen": chosen, "secret:odd": odd };
  const run = new StateRun(machine.host, machine.directory, keys);
  const first = await machine.disk(8);
  await run.apply("luks.formatted", { name: first, key: "secret:chosen", label: "mine" });
  expect(await readLuksHeader(machine.host, first)).toMatchObject({
    header: { label: "mine", metadata: { keyslots: { 0: { kdf: { type: "argon2id" }, priority: 2 } } } },
  });
  const second = await machine.disk(8);
  await run.apply("luks.formatted", { name: second, key: "secret:odd" });
  await run.apply("luks.opened", { name: machine.name("odd"), device: second, key: "secret:odd" });
  await machine.sh("cryptsetup", "close", machine.name("odd"));
});

test("discards are not handed down unless asked for", async () => {
  const disk = await machine.disk(8);
  const run = new StateRun(machine.host, machine.directory, { "secret:password": machineKey() });
  await run.apply("luks.formatted", { name: disk, key: "secret:password" });
  const wanted = { name: machine.name("d"), device: disk, key: "secret:password" };
  await run.apply("luks.opened", wanted);
  expect(await machine.sh("dmsetup", "table", machine.name("d"))).not.toContain("allow_discards");
  await machine.sh("cryptsetup", "close", machine.name("d"));
  await run.apply("luks.opened", { ...wanted, allow_discards: true });
  expect(await machine.sh("dmsetup", "table", machine.name("d"))).toContain("allow_discards");
  await machine.sh("cryptsetup", "close", machine.name("d"));
});

test("I2: two at once on one blank disk: one formats, the other finds it formatted; both may open it", async () => {
  const disk = await machine.disk(8);
  let formats = 0;
  const host: Host = {
    ...machine.host,
    run: (argv, options) => {
      if (argv[1] === "luksFormat") formats += 1;
      return machine.host.run(argv, options);
    },
  };
  const keys = { "secret:password": machineKey() };
  const runs = [0, 1].map(() => new StateRun(host, machine.directory, keys));
  const change = [{ field: "luks", from: null, to: "luks2" }];
  await Promise.all(runs.map((run) => run.force("luks.formatted", { name: disk, key: "secret:password" }, change)));
  expect(formats).toBe(1);
  const open = { name: machine.name("two"), device: disk, key: "secret:password" };
  await Promise.all(runs.map((run) => run.force("luks.opened", open, [])));
  expect(await runs[0]?.test("luks.opened", open)).toEqual([]);
  await machine.sh("cryptsetup", "close", open.name);
});
