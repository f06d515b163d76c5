import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { LabHost } from "../../lab/host.ts";
import { Lab } from "../../lab/lab.ts";
import { minionFiles } from "../../lab/minion.ts";
import { PROJECT } from "../../lab/place.ts";
import { VOLUME } from "../../lab/scene.ts";

const LATCHKEY = "/opt/latchkey/bin/latchkey";
/** What an administrator installs by hand, as the README says. */
const INSTALL = `set -e
cd /opt/latchkey/systemd
cp latchkey-*.service latchkey-volumes.target /etc/systemd/system/
install -D -m 644 latchkey.sysusers /usr/lib/sysusers.d/latchkey.conf
install -D -m 644 latchkey.tmpfiles /usr/lib/tmpfiles.d/latchkey.conf
systemd-sysusers latchkey.conf
systemd-tmpfiles --create latchkey.conf
systemctl daemon-reload
`;
const PILLAR = `password: !generate
vg_name: ${VOLUME.vgName}
mountpoint: ${VOLUME.mountpoint}
dev_name: ${VOLUME.device}
dependents: []
`;

const EXAMPLES = join(PROJECT, "examples/states");
const STATES = readdirSync(EXAMPLES, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".sls"));
const example = (name: string) => readFileSync(join(EXAMPLES, name), "utf8");

let lab: Lab;
let vault: LabHost;
beforeAll(async () => {
  lab = await Lab.create((line) => console.error(line));
  vault = await lab.addHost("vault", {
    files: {
      "/usr/local/bin/add-a-line": { text: '#!/bin/sh\necho "note: edited" >>"$1"\n', mode: 0o755 },
      "/etc/latchkey/master.yaml": { text: "auto_accept: true\n" },
      ...Object.fromEntries(STATES.map((name) => [`/srv/latchkey/states/${name}`, { text: example(name) }])),
      "/lab-pillar/top.sls": { text: "base:\n  '*':\n    - volume\n" },
      "/lab-pillar/volume.sls": { text: PILLAR },
    },
  });
  await vault.boot();
  await vault.ready();
  await vault.run(INSTALL);
  await vault.run(`cp /lab-pillar/* /srv/latchkey/pillar/
systemctl start latchkey-master.service || { journalctl --no-pager -u latchkey-master.service >&2; exit 1; }`);
});
afterAll(async () => {
  await lab?.destroy();
});

const show = async (property: string) =>
  (await vault.run(`systemctl show --value -p ${property} latchkey-master.service`)).stdout.trim();

test("the shipped units have no mistake, and are as shut as they are said to be", async () => {
  const units = "latchkey-master.service latchkey-minion.service";
  const { stderr } = await vault.run(`systemd-analyze verify --man=no ${units}`);
  expect(stderr).toBe("");
  const { stdout } = await vault.run(
    `for unit in ${units}; do systemd-analyze security $unit --no-pager | tail -1; done`,
  );
  const exposures = [...stdout.matchAll(/for (\S+): ([\d.]+)/gu)].map(
    ([, unit, level]) => [unit, Number(level)] as const,
  );
  console.log(`-- exposure: ${exposures.map((pair) => pair.join(" ")).join(", ")}`);
  const [master, minion] = exposures.map(([, level]) => level);
  expect(master).toBeLessThan(2);
  expect(minion).toBeLessThan(7);
});

test("the master is no root, has no capability, and cannot get one", async () => {
  const { stdout } = await vault.run(`cat /proc/${await show("MainPID")}/status; id -u latchkey`);
  const lines = Object.fromEntries(stdout.split("\n").map((line) => line.split(/:?\s+/u, 2)));
  const uid = stdout.trim().split("\n").at(-1);
  expect(lines).toMatchObject({ Uid: uid, CapPrm: "0".repeat(16), CapEff: "0".repeat(16), CapBnd: "0".repeat(16) });
  expect(lines).toMatchObject({ NoNewPrivs: "1", Seccomp: "2" });
});

test("operators reach the control socket by their group, nobody else does", async () => {
  const { stdout } = await vault.run(
    "stat -c '%a %U %G' /run/latchkey-master /run/latchkey-master/control.sock /var/lib/latchkey/master",
  );
  expect(stdout).toBe("750 latchkey latchkey\n660 latchkey latchkey\n700 latchkey latchkey\n");
  await vault.run("useradd --groups latchkey opal && useradd stranger");
  const as = (user: string, okCodes: readonly number[]) =>
    vault.run(`setpriv --reuid ${user} --regid ${user} --init-groups ${LATCHKEY} status`, { okCodes });
  expect((await as("opal", [0])).stdout).toContain("fingerprint SHA256:");
  expect((await as("stranger", [3, 4])).stderr).toContain("permission denied");
});

test("a minion gets its key from it, and the pillar that is edited and backed up through it is written", async () => {
  const { stdout } = await vault.run(`${LATCHKEY} status --out json`);
  const { fingerprint } = JSON.parse(stdout) as { fingerprint: string };
  const host = await lab.addHost("alpha", {
    files: minionFiles({ id: "alpha", master: vault.address, master_finger: fingerprint }),
  });
  await host.boot();
  await host.console.waitFor(/"msg":"job done"/u, 120_000);
  await host.run(`mountpoint ${VOLUME.mountpoint} && systemctl is-active latchkey-volumes.target`);
  expect((await vault.run(`${LATCHKEY} leases --out json`)).stdout).toContain('"alpha"');

  await vault.run(`EDITOR=/usr/local/bin/add-a-line ${LATCHKEY} pillar edit alpha`);
  expect((await vault.run("cat /srv/latchkey/pillar/hosts/alpha.yaml")).stdout).toContain("note: edited\n");
  await vault.run(`${LATCHKEY} backup /var/backups/latchkey/store.db`);
  const elsewhere = await vault.run(`${LATCHKEY} backup /root/store.db`, { okCodes: [2, 3] });
  expect(elsewhere.stderr).toContain("/var/backups/latchkey");
});
