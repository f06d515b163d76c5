import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compilePillar } from "../src/pillar/compile.ts";
import { pillarFilesBelow } from "../src/pillar/tree.ts";

const SECONDS = 2;

/** Whole compiles a second of a pillar with a top file, a shared SLS, a templated one and a host file: nothing cached. */
export async function measurePillars(): Promise<number> {
  const root = mkdtempSync(join(tmpdir(), "latchkey-bench-pillar-"));
  try {
    mkdirSync(join(root, "hosts"));
    writeFileSync(join(root, "top.sls"), "base:\n  '*': [common, disk]\n  'db*': [db]\n");
    writeFileSync(join(root, "common.sls"), "ntp: {servers: [a, b, c]}\nusers: {ann: {uid: 1}, bob: {uid: 2}}\n");
    writeFileSync(join(root, "disk.sls"), "vg_name: '{{grains.id}}'\nmountpoint: /srv/data\npassword: !generate\n");
    writeFileSync(join(root, "db.sls"), "db: {port: 3306}\n");
    for (let host = 0; host < 50; host += 1) writeFileSync(join(root, `hosts/db${host}.yaml`), `rack: r${host}\n`);
    const begun = performance.now();
    let compiled = 0;
    while (performance.now() - begun < SECONDS * 1000) {
      const id = `db${compiled % 50}`;
      const { pillar } = await compilePillar(pillarFilesBelow([root]), id, { id });
      if (pillar["vg_name"] !== id) throw new Error(`wrong pillar for ${id}`);
      compiled += 1;
    }
    return compiled / ((performance.now() - begun) / 1000);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
