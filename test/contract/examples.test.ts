import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { PillarTree } from "../../src/pillar/tree.ts";
import { compile } from "../../src/sls/compile.ts";
import { openRoots } from "../../src/sls/file-roots.ts";
import type { LowChunk } from "../../src/sls/low.ts";
import { STATES } from "../../src/states/registry.ts";
import { keyPathOf, readVolumes } from "../../src/states/volume/spec.ts";
import { catalogueOf } from "../../src/states/validate.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const pillars = new PillarTree([`${EXAMPLES}/pillar`]);

async function chunksFor(id: string): Promise<readonly LowChunk[]> {
  const grains = { id, os: "Debian" };
  const { pillar } = await pillars.compile(id, grains);
  const source = openRoots([`${EXAMPLES}/states`]);
  const compiled = await compile({ kind: "highstate" }, source, { id, grains, pillar }, catalogueOf(STATES));
  if (compiled.kind === "chunks") return compiled.chunks;
  throw new Error(compiled.errors.map(({ message }) => message).join("\n"));
}

const VOLUME = [
  "lvm.pv_present",
  "lvm.vg_present",
  "lvm.lv_present",
  "luks.formatted",
  "luks.opened",
  "fs.formatted",
  "mount.mounted",
  "luks.key_wiped",
];
const nameOf = ({ state, fun }: LowChunk) => `${state}.${fun}`;

/** Every chunk that must have succeeded before this one, by index. */
function requiredBy(chunks: readonly LowChunk[], index: number, seen = new Set<number>()): ReadonlySet<number> {
  for (const target of chunks[index]?.requisites.flatMap(({ targets }) => targets) ?? []) {
    if (seen.has(target)) continue;
    seen.add(target);
    requiredBy(chunks, target, seen);
  }
  return seen;
}

const hosts = readdirSync(`${EXAMPLES}/pillar/hosts`).map((file) => file.replace(/\.yaml$/u, ""));

test("there is an example host for each dependent", () => {
  expect(hosts).toEqual(["db1.example", "db2.example"]);
});

describe.each(hosts)("the example host %s", (id) => {
  test("I5: its pillar names the key and does not hold it", async () => {
    const { pillar, secrets } = await pillars.compile(id, {});
    expect(pillar["password"]).toBe("secret:password");
    expect(secrets.get("password")?.kind).toBe("generate");
  });

  test("its highstate compiles, every parameter right, and the volume comes first in its order", async () => {
    const chunks = await chunksFor(id);
    expect(chunks.slice(0, VOLUME.length).map(nameOf)).toEqual(VOLUME);
    expect(chunks.filter((chunk) => chunk.state === "luks" && "key" in chunk.params)).toHaveLength(2);
  });

  test("I9: every state of its dependents needs the mount", async () => {
    const chunks = await chunksFor(id);
    const mount = chunks.findIndex((chunk) => nameOf(chunk) === "mount.mounted");
    const dependents = chunks.flatMap((chunk, index) => (chunk.sls === "luks" ? [] : [index]));
    expect(dependents.length).toBeGreaterThan(2);
    for (const index of dependents) expect([...requiredBy(chunks, index)]).toContain(mount);
    const service = chunks.find((chunk) => nameOf(chunk) === "service.running");
    expect(service?.params).toMatchObject({ enable: false });
  });
});

test("a host without dependents gets the volume alone", async () => {
  const pillar = { password: "secret:password", vg_name: "data", mountpoint: "/srv/data", dev_name: "/dev/vdb" };
  const source = openRoots([`${EXAMPLES}/states`]);
  const compiled = await compile({ kind: "highstate" }, source, { id: "x", grains: {}, pillar }, catalogueOf(STATES));
  expect(compiled.kind === "chunks" ? compiled.chunks.map(nameOf) : compiled.errors).toEqual(VOLUME);
});

test.each(["mariadb", "mongodb"])("I9: %s named in the top file alone needs the mount as well", async (name) => {
  const pillar = { password: "secret:password", vg_name: "data", mountpoint: "/srv/data", dev_name: "/dev/vdb" };
  const source = openRoots([`${EXAMPLES}/states`]);
  const wanted = { kind: "sls", names: [name] } as const;
  const compiled = await compile(wanted, source, { id: "x", grains: {}, pillar }, catalogueOf(STATES));
  const chunks = compiled.kind === "chunks" ? compiled.chunks : [];
  const service = chunks.findIndex((chunk) => nameOf(chunk) === "service.running");
  const mount = chunks.findIndex((chunk) => nameOf(chunk) === "mount.mounted");
  expect([...requiredBy(chunks, service)]).toContain(mount);
});

test("I9: a volume inside of another comes after it in the highstate, wherever the pillar has it", async () => {
  const volumes = {
    vault: { loop: { file: "/srv/data/v.img", size: "64M" }, fs: { type: "ext4" }, mount: { point: "/srv/vault" } },
    app: { disk: "/dev/vdc", fs: { type: "ext4" }, mount: { point: "/srv/data/app" } },
    data: { disk: "/dev/vdb", fs: { type: "ext4" }, mount: { point: "/srv/data" } },
  };
  const source = openRoots([`${EXAMPLES}/volumes/states`]);
  const context = { id: "x", grains: {}, pillar: { volumes } };
  const compiled = await compile({ kind: "highstate" }, source, context, catalogueOf(STATES));
  const names = compiled.kind === "chunks" ? compiled.chunks.map((chunk) => chunk.name) : compiled.errors;
  expect(names).toEqual(["data", "vault", "app"]);
});

describe.each(["db3.example", "log1.example"])("the example host %s, with whole volumes", (id) => {
  const tree = new PillarTree([`${EXAMPLES}/volumes/pillar`]);

  test("I5: its volumes read, and name keys that the master makes", async () => {
    const { pillar, secrets } = await tree.compile(id, {});
    const paths = readVolumes(pillar).map((volume) => keyPathOf(volume) ?? "");
    expect(paths.map((path) => secrets.get(path)?.kind)).toEqual(paths.map(() => "generate"));
    expect(paths.length).toBeGreaterThan(0);
  });

  test("its highstate is one volume.running a volume", async () => {
    const { pillar } = await tree.compile(id, {});
    const source = openRoots([`${EXAMPLES}/volumes/states`]);
    const context = { id, grains: {}, pillar };
    const compiled = await compile({ kind: "highstate" }, source, context, catalogueOf(STATES));
    const names = compiled.kind === "chunks" ? compiled.chunks.map((chunk) => [nameOf(chunk), chunk.name]) : [];
    expect(names).toEqual(readVolumes(pillar).map(({ name }) => ["volume.running", name]));
  });
});
