import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LabHost } from "../../lab/host.ts";
import { Lab } from "../../lab/lab.ts";

let lab: Lab;
let host: LabHost;
beforeAll(async () => {
  lab = await Lab.create((line) => console.error(line));
  host = await lab.addHost("bare", { files: { "/etc/lab-note": { text: "injected\n", mode: 0o640 } } });
  await host.boot();
  await host.ready();
});
afterAll(async () => {
  await lab?.destroy();
});

test("a host runs systemd, has a blank data disk, and device-mapper", async () => {
  await host.run("timeout 60 systemctl is-system-running --wait");
  expect((await host.run("ps -o comm= -p 1")).stdout).toBe("systemd\n");
  expect((await host.run("blkid /dev/ubdb", { okCodes: [2] })).stdout).toBe("");
  expect((await host.run("dmsetup targets")).stdout).toContain("crypt");
});

test("files are injected with their modes, and come back byte for byte", async () => {
  expect((await host.run("stat -c %a /etc/lab-note")).stdout).toBe("640\n");
  expect((await host.read("/etc/lab-note")).toString()).toBe("injected\n");
});

test("the product is there as it is installed: node, bundle, addon", async () => {
  const script = "import('/opt/latchkey/node_modules/zeromq/lib/index.js').then((z) => console.log(z.default.version))";
  expect((await host.run(`node -e "${script}"`)).stdout).toMatch(/^4\./u);
  expect((await host.run("node --version")).stdout.trim()).toBe(process.version);
});

test("a command's exit code, output and errors come back; many at once keep apart", async () => {
  const answer = await host.run("echo out; echo err >&2; exit 7", { okCodes: [7] });
  expect(answer).toEqual({ exitCode: 7, stdout: "out\n", stderr: "err\n" });
  await expect(host.run("exit 3")).rejects.toThrow(/exit 3 in the host/u);
  const numbers = await Promise.all([1, 2, 3, 4].map((n) => host.run(`seq ${n}000 | wc -l`)));
  expect(numbers.map(({ stdout }) => Number(stdout))).toEqual([1000, 2000, 3000, 4000]);
});

test("what services say arrives while they say it", async () => {
  const mark = host.console.mark;
  await host.run("systemd-run --quiet --unit=talker sh -c 'echo a line for the lab'");
  expect((await host.console.waitFor(/a line for the lab/u, 20_000, mark)).source).toBe("journal");
});

test("a host reaches the master's address, not while its cable is out", async () => {
  const dial = (okCodes: readonly number[]) =>
    host.run("timeout 5 bash -c 'cat </dev/tcp/10.77.0.1/4000'", { okCodes, timeoutMs: 20_000 });
  const script =
    "require('net').createServer((s) => s.end('hello')).listen(4000, '10.77.0.1', () => console.log('up'))";
  const listener = spawn("ip", [...lab.network.prefix.slice(1), process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(listener.stdout, "data");
    expect((await dial([0])).stdout).toBe("hello");
    await lab.network.disconnect(host.tap);
    expect((await dial([1, 124])).stdout).toBe("");
    await lab.network.reconnect(host.tap);
    expect((await dial([0])).stdout).toBe("hello");
  } finally {
    listener.kill();
  }
});

test("a power cut takes what was not synced and leaves what was; the host comes back", async () => {
  await host.run("echo synced >/var/lib/kept && sync /var/lib/kept; (sleep 1000 &)");
  await host.powerCut();
  await expect(host.run("true")).rejects.toThrow(/is off/u);
  await host.boot();
  await host.ready();
  expect((await host.read("/var/lib/kept")).toString()).toBe("synced\n");
  await host.run("timeout 60 systemctl is-system-running --wait");
  await host.shutdown();
  expect(host.console.tail(1)).toContain("power off");
});
