import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { returnText } from "../../src/cli/output.ts";
import type { Json } from "../../src/core/json.ts";
import { Fleet, ID } from "./support/fleet.ts";
import { Machine } from "./support/machine.ts";
import { Services } from "./support/services.ts";

/** Volumes that lie inside of another one, by their mount point and by their loop file, and are declared before it. */
const machine = new Machine();
const services = new Services(["app"]);
const fleet = new Fleet(machine.makeDirectory("fleet"), services.on(machine.host));
const outer = `${machine.directory}/data`;
const inner = `${outer}/app`;
const vault = `${machine.directory}/vault`;
const SLS = resolve(import.meta.dirname, "../../examples/volumes/states/volumes.sls");

async function command(fun: string, args: readonly Json[] = []) {
  const { data, retcode } = await fleet.run(fun, {}, args);
  return { retcode, text: returnText({ id: ID, fun, success: retcode === 0, data }, (_colour, text) => text) };
}
const state = (name: string) => command("state.apply", [name]);
const sourceOf = async (path: string) =>
  (await machine.sh("findmnt", "--noheadings", "--output", "SOURCE", "--target", path)).trim();

beforeAll(async () => {
  const [appDisk, dataDisk] = [await machine.disk(16), await machine.disk(48)];
  fleet.pillar(`volumes:
  app:
    disk: ${appDisk}
    luks: { key: !generate , name: ${machine.name("app")} }
    fs: { type: ext4 }
    mount: { point: ${inner} }
    dependents: [app]
  vault:
    loop: { file: ${outer}/v.img, size: 8M }
    fs: { type: ext4 }
    mount: { point: ${vault} }
  data:
    disk: ${dataDisk}
    fs: { type: ext4 }
    mount: { point: ${outer} }
`);
  copyFileSync(SLS, join(fleet.directory, "states/volumes.sls"));
  writeFileSync(join(fleet.directory, "states/app.sls"), "app:\n  volume.running: []\n");
  writeFileSync(join(fleet.directory, "states/vault.sls"), "vault:\n  volume.running: []\n");
});
afterAll(async () => {
  await command("volume.stop");
  await fleet.stopMaster();
  await machine.dispose();
});

test("I9: an inner volume alone is refused before anything is made, and what depends on it is stopped", async () => {
  services.set("app", "active");
  for (const [name, place] of [
    ["app", inner],
    ["vault", `${outer}/v.img`],
  ] as const) {
    const { retcode, text } = await state(name);
    expect(retcode).toBe(2);
    expect(text).toContain(
      `cannot bring up volume "${name}": "${place}" lies inside of "${outer}", where volume "data"`,
    );
  }
  expect(services.running).toEqual([]);
  expect(existsSync(outer)).toBe(false);
});

test("I9: the highstate of the examples brings the outer one up first; the second run changes nothing", async () => {
  expect((await state("volumes")).text).toMatch(/volume data is up: [^]*volume app is up: [^]*volume vault is up: /u);
  expect(await sourceOf(inner)).toBe(`/dev/mapper/${machine.name("app")}`);
  expect(services.running).toEqual(["app"]);
  await machine.host.writeFile(`${inner}/row`, Buffer.from("row"), { mode: 0o600 });
  const again = await state("volumes");
  expect(again.retcode).toBe(0);
  for (const name of ["app", "vault", "data"]) expect(again.text).toContain(`volume ${name} is up\n`);
});

test("restart without names: all down from the inside, all up from the outside", async () => {
  const { retcode, text } = await command("volume.restart");
  expect(text).not.toContain("FAILED");
  expect(retcode).toBe(0);
  expect((await machine.host.readFile(`${inner}/row`))?.toString()).toBe("row");
  expect(existsSync(vault)).toBe(true);
  expect(services.running).toEqual(["app"]);
});

test("I9: a mount that another one covers is not up: it is named, and what depends on it is stopped", async () => {
  await machine.sh("mount", "-t", "tmpfs", "cover", outer);
  const { retcode, text } = await state("app");
  expect(retcode).toBe(2);
  // the outer one is covered as well, and is missed first
  expect(text).toContain('where volume "data" is not mounted');
  expect(services.running).toEqual([]);
  expect((await command("volume.stop", ["app"])).text).toContain(`is covered by cover on "${outer}"`);
  expect((await command("volume.status", ["app"])).text).toContain("mount-covered");
  await machine.sh("umount", outer);
  expect((await state("app")).retcode).toBe(0);
  expect(services.running).toEqual(["app"]);
});

test("I9: a mount that would cover another disk's is refused", async () => {
  expect((await command("volume.stop")).retcode).toBe(0);
  const inside = await machine.disk(16);
  await machine.sh("mkfs.ext4", "-q", inside);
  await machine.sh("mkdir", "--parents", inner);
  await machine.sh("mount", "-t", "ext4", inside, inner);
  const { text } = await command("volume.start", ["data"]);
  expect(text).toContain(`it would cover ${inside}, which is mounted on "${inner}"`);
  await machine.sh("umount", inner);
  expect((await command("volume.start")).retcode).toBe(0);
});
