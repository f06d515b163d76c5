import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../src/core/json.ts";
import type { InjectedFile, LabHost } from "./host.ts";
import { MASTER_ADDRESS } from "./network.ts";
import { PROJECT } from "./place.ts";

const UNITS = "/etc/systemd/system";
const unit = (name: string): InjectedFile => ({ text: readFileSync(join(PROJECT, "systemd", name), "utf8") });

/** The files that make a host a minion: the shipped units, enabled, and its configuration. */
export function minionFiles(settings: JsonObject): Readonly<Record<string, InjectedFile>> {
  const config: JsonObject = { master: MASTER_ADDRESS, startup_states: "highstate", log_level: "debug", ...settings };
  return {
    [`${UNITS}/latchkey-minion.service`]: unit("latchkey-minion.service"),
    [`${UNITS}/latchkey-volumes.target`]: unit("latchkey-volumes.target"),
    [`${UNITS}/multi-user.target.wants/latchkey-minion.service`]: { link: `${UNITS}/latchkey-minion.service` },
    // JSON is YAML
    "/etc/latchkey/minion.yaml": { text: JSON.stringify(config, null, 2), mode: 0o600 },
  };
}

/** The commands whose beginning and end a host with `stepSignals` tells. */
export type Step = "pvcreate" | "vgcreate" | "lvcreate" | "luksFormat" | "mkfs" | "mount";

const WRAPPED: Readonly<Record<string, string>> = {
  pvcreate: "/usr/sbin/pvcreate",
  vgcreate: "/usr/sbin/vgcreate",
  lvcreate: "/usr/sbin/lvcreate",
  "mkfs.ext4": "/usr/sbin/mkfs.ext4",
  "mkfs.xfs": "/usr/sbin/mkfs.xfs",
  mount: "/usr/bin/mount",
  cryptsetup: "/usr/sbin/cryptsetup",
};

/** Wrappers, found before the programs themselves, that write a line on the journal's serial line around each step. */
export function stepSignals(): Readonly<Record<string, InjectedFile>> {
  return Object.fromEntries(
    Object.entries(WRAPPED).map(([name, program]) => {
      const step = name === "cryptsetup" ? "$1" : name.split(".")[0];
      const text = `#!/bin/sh
echo "lab-step ${step} begins" >/dev/ttyS1
while [ -e "/lab/hold-${step}" ]; do sleep 0.1; done
${program} "$@"
code=$?
echo "lab-step ${step} ends with $code" >/dev/ttyS1
exit $code
`;
      return [`/usr/local/sbin/${name}`, { text, mode: 0o755 }];
    }),
  );
}

/** The line by which a step is seen to begin. */
export function beginningOf(step: Step): RegExp {
  return new RegExp(`lab-step ${step} begins`, "u");
}

/** Has the host stay at the beginning of a step, once it comes there, until the function that is returned was called. */
export function holdAt(host: LabHost, step: Step): () => void {
  const file = join(host.share, `hold-${step}`);
  writeFileSync(file, "");
  return () => rmSync(file);
}
