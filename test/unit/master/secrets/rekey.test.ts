import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decryptAge } from "../../../../src/core/age-decrypt.ts";
import type { AgeIdentity } from "../../../../src/core/age-identity.ts";
import { encryptAge } from "../../../../src/core/age.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { loadAgeIdentity } from "../../../../src/master/age-identity-file.ts";
import { IdentityRing } from "../../../../src/master/identity-ring.ts";
import { Lane } from "../../../../src/core/lane.ts";
import { openSecrets, type Secrets } from "../../../../src/master/secrets.ts";
import { dropIdentities, renewIdentity } from "../../../../src/master/secrets/identity.ts";
import { lintPillar } from "../../../../src/master/secrets/lint.ts";
import { listPillarFiles } from "../../../../src/master/secrets/pillar-files.ts";
import { rekey } from "../../../../src/master/secrets/rekey.ts";
import { MemoryStore } from "../../../../src/master/store/memory.ts";
import { vaultOf } from "../../../../src/master/volumes/vault.ts";
import { quoteYaml } from "../../../../src/pillar/edit-text.ts";
import { PillarTree } from "../../../../src/pillar/tree.ts";

let base: string;
let root: string;
let ring: IdentityRing;
let store: MemoryStore;
let secrets: Secrets;
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), "latchkey-links-"));
  root = join(base, "pillar");
  for (const name of ["real", "hosts"]) mkdirSync(join(root, name), { recursive: true });
  store = new MemoryStore();
  ring = new IdentityRing(await loadAgeIdentity(join(base, "age.key"), store, systemClock));
  secrets = openSecrets({ store, identity: ring, recoveryRecipients: [], clock: systemClock });
});
afterEach(() => {
  secrets[Symbol.dispose]();
  rmSync(base, { recursive: true });
});

const sealed = async (text: string) => quoteYaml(await encryptAge(Buffer.from(text), [ring.recipient]));
const desk = () => ({
  file: join(base, "age.key"),
  ring,
  identity: ring,
  store,
  versions: secrets.versions,
  roots: [root],
  lane: new Lane(),
  clock: systemClock,
  record: async () => {},
  vaultWith: (identity: AgeIdentity) => vaultOf(secrets, identity),
});
async function opened(): Promise<string | undefined> {
  const node = (await new PillarTree([root]).compile("web1", {})).secrets.get("password");
  if (node?.kind !== "secret") return undefined;
  using plain = decryptAge(node.armored, ring);
  return plain.expose().toString();
}
const lint = async () =>
  (
    await lintPillar({
      sharedTrees: () => [],
      ...desk(),
      opens: () => true,
      olderIdentities: () => 0,
      uses: async () => null,
      ids: () => ["web1"],
      compile: async (id) => new PillarTree([root]).compile(id, {}),
      compileOtherwise: async (id) => new PillarTree([root]).compile(id, {}),
    })
  ).findings;

test("I3: a secret behind a link inside the root is encrypted anew before the identity that it needs is destroyed", async () => {
  writeFileSync(join(root, "top.sls"), "base:\n  '*':\n    - db\n");
  writeFileSync(join(root, "real/db.yaml"), `password: !secret ${await sealed("hunter2")}\n`);
  symlinkSync("real/db.yaml", join(root, "db.sls"));
  symlinkSync("real/db.yaml", join(root, "again.sls"));
  await renewIdentity(desk());
  // the link is followed by the proof too, not by the rekey alone
  await expect(dropIdentities(desk())).rejects.toMatchObject({ code: "identity-needed" });
  expect(await rekey(desk())).toMatchObject({ rekeyed: [`${root}/real/db.yaml`], failed: [] });
  await dropIdentities(desk());
  expect(await opened()).toBe("hunter2");
  expect(readFileSync(join(root, "db.sls"), "utf8")).toBe(readFileSync(join(root, "real/db.yaml"), "utf8"));
});

test("host files behind a linked directory are found, and links in a circle end", async () => {
  rmSync(join(root, "hosts"), { recursive: true });
  mkdirSync(join(root, "fleet"));
  writeFileSync(join(root, "fleet/web1.yaml"), `password: !secret ${await sealed("hunter2")}\n`);
  writeFileSync(join(root, "fleet/notes.txt"), "");
  symlinkSync("fleet", join(root, "hosts"));
  symlinkSync("..", join(root, "real/up"));
  expect(await listPillarFiles([root])).toMatchObject({ files: [{ root, path: "fleet/web1.yaml" }], unclear: [] });
});

test.each([
  ["a file", "db.sls", "../elsewhere.sls"],
  ["a directory", "shared", ".."],
])(
  "a link to %s out of the root is named and holds nothing up: no pillar comes from there",
  async (_, name, target) => {
    writeFileSync(join(base, "elsewhere.sls"), `password: !secret ${await sealed("hunter2")}\n`);
    symlinkSync(target, join(root, name));
    await renewIdentity(desk());
    const outside = [{ name: `${root}/${name}`, reason: expect.stringContaining("leads out of") }];
    expect(await rekey(desk())).toMatchObject({ rekeyed: [], failed: [], outside });
    expect(await lint()).toContainEqual(expect.objectContaining({ kind: "not-understood", file: `${root}/${name}` }));
    expect((await dropIdentities(desk())).dropped).toHaveLength(1);
  },
);

test("a link that leads nowhere, as the lock of an editor does, is no file", async () => {
  symlinkSync("ann@desk.4711:1700000000", join(root, ".#web.sls"));
  symlinkSync("real/gone.sls", join(root, "db.sls"));
  await renewIdentity(desk());
  expect(await rekey(desk())).toMatchObject({ rekeyed: [], failed: [], outside: [] });
  expect((await lint()).filter(({ kind }) => kind === "not-understood")).toEqual([]);
  expect((await dropIdentities(desk())).dropped).toHaveLength(1);
});

test("a link in a circle is named, and keeps the older identity from being destroyed", async () => {
  symlinkSync("db.sls", join(root, "db.sls"));
  await renewIdentity(desk());
  const failed = [{ name: `${root}/db.sls`, reason: expect.stringContaining("not understood") }];
  expect(await rekey(desk())).toMatchObject({ rekeyed: [], failed });
  await expect(dropIdentities(desk())).rejects.toThrow(`${root}/db.sls`);
});

test.each([
  ["a comment that names the tag", (value: string) => `a: !secret # was !secret of 2025\n  ${value}\n`],
  ["an anchor on the next line", (value: string) => `a: !secret\n  &x ${value}\nb: *x\n`],
  ["a comment above the value", (value: string) => `a: !secret # of /srv\n  ${value} # after\n`],
])("%s between tag and value is kept by a rekey, and the pillar says the same", async (_, text) => {
  const file = join(root, "hosts/web1.yaml");
  const old = await sealed("hunter2");
  writeFileSync(file, text(old));
  await renewIdentity(desk());
  expect(await rekey(desk())).toMatchObject({ rekeyed: [file], failed: [] });
  const next = /"-----BEGIN.*?"/u.exec(readFileSync(file, "utf8"))?.[0] ?? "";
  expect(next).not.toBe(old);
  expect(readFileSync(file, "utf8")).toBe(text(next));
  const node = (await new PillarTree([root]).compile("web1", {})).secrets.get("a");
  expect(node).toMatchObject({ armored: JSON.parse(next) });
});
