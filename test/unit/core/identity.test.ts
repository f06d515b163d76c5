import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadIdentity, loadOrCreateIdentity } from "../../../src/core/identity-file.ts";
import {
  fingerprint,
  generateIdentity,
  packPublicIdentity,
  parseFingerprint,
  sameIdentity,
  unpackPublicIdentity,
} from "../../../src/core/identity.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "latchkey-identity-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test("a fingerprint has one form, read back however a person writes it", () => {
  const { public: identity } = generateIdentity();
  const printed = fingerprint(identity);
  expect(printed).toMatch(/^SHA256:(?:[a-z2-7]{4}-){12}[a-z2-7]{4}$/u);
  expect(parseFingerprint(` ${printed.toUpperCase()} `)).toBe(printed);
  expect(parseFingerprint(printed.slice(7).replaceAll("-", ""))).toBe(printed);
  expect(() => parseFingerprint(printed.slice(0, -1))).toThrow(/cannot read fingerprint/u);
});

test("a fingerprint of known keys is the documented one", () => {
  const identity = { signKey: Buffer.alloc(32, 1), dhKey: Buffer.alloc(32, 2) };
  expect(fingerprint(identity)).toMatchInlineSnapshot(
    `"SHA256:222w-r72w-tv2a-7f6f-kqa5-snzq-6sun-oobz-uaoz-zxv7-su7l-dznt-nyua"`,
  );
});

test("public identities survive packing; both keys count", () => {
  const [a, b] = [generateIdentity().public, generateIdentity().public];
  const back = unpackPublicIdentity(packPublicIdentity(a));
  expect(back && sameIdentity(back, a)).toBe(true);
  expect(sameIdentity(a, { ...a, dhKey: b.dhKey })).toBe(false);
  expect(sameIdentity(a, { ...a, signKey: b.signKey })).toBe(false);
  expect(unpackPublicIdentity(Buffer.alloc(63))).toBeUndefined();
});

test("derived keys differ by purpose and stay the same over a restart", async () => {
  const path = join(folder, "identity");
  const [first, again] = [await loadOrCreateIdentity(path), await loadOrCreateIdentity(path)];
  expect(first.derive("a").expose()).toEqual(again.derive("a").expose());
  expect(first.derive("a").expose()).not.toEqual(first.derive("b").expose());
});

test("lesson: 2020-17490 an identity file is 0600 and made once, also by ten at the same time", async () => {
  const path = join(folder, "pki", "identity");
  const made = await Promise.all(Array.from({ length: 10 }, () => loadOrCreateIdentity(path)));
  expect(new Set(made.map((identity) => identity.fingerprint)).size).toBe(1);
  expect((await stat(path)).mode & 0o7777).toBe(0o600);
  expect(await readdir(join(folder, "pki"))).toEqual(["identity"]);
});

test("lesson: 2023-34049 an identity that others may read is refused with a hint, never used", async () => {
  const path = join(folder, "identity");
  await loadOrCreateIdentity(path);
  await chmod(path, 0o640);
  const refused = loadOrCreateIdentity(path);
  await expect(refused).rejects.toMatchObject({ code: "identity-permissions", exitStatus: 2 });
  await expect(refused).rejects.toHaveProperty("hint", expect.stringContaining("chmod 600"));
});

test("a damaged identity is never replaced silently", async () => {
  const path = join(folder, "identity");
  await loadOrCreateIdentity(path);
  const bytes = await readFile(path);
  bytes[30] = (bytes[30] ?? 0) ^ 1;
  await writeFile(path, bytes);
  await expect(loadOrCreateIdentity(path)).rejects.toMatchObject({ code: "identity-damaged" });
  await truncate(path, 40);
  await expect(loadOrCreateIdentity(path)).rejects.toMatchObject({ code: "identity-damaged" });
  expect(await loadIdentity(join(folder, "none"))).toBeUndefined();
});

test("an identity is not read through a symbolic link", async () => {
  const path = join(folder, "identity");
  await loadOrCreateIdentity(path);
  await symlink(path, join(folder, "link"));
  await expect(loadIdentity(join(folder, "link"))).rejects.toMatchObject({ code: "identity-unreadable" });
});
