import { join } from "node:path";
import { ConfigError } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import { fingerprint, packPublicIdentity, type PublicIdentity, unpackPublicIdentity } from "../core/identity.ts";
import type { Logger } from "../core/log.ts";
import type { MasterTrust } from "../wire/endpoints.ts";
import type { MinionConfig } from "./config.ts";

const fileOf = (stateDir: string) => join(stateDir, "master.pub");

/** The master that this minion knows from before; undefined when it knows none. Throws ConfigError when the file is damaged. */
export async function readPinnedMaster(host: Host, stateDir: string): Promise<PublicIdentity | undefined> {
  const path = fileOf(stateDir);
  const bytes = await host.readFile(path);
  if (bytes === undefined) return undefined;
  const [print, packed = ""] = bytes.toString("utf8").trim().split(" ");
  const master = unpackPublicIdentity(Buffer.from(packed, "base64"));
  if (master !== undefined && fingerprint(master) === print) return master;
  throw new ConfigError("master-pin-damaged", `cannot use the pinned master in "${path}": the file is damaged`, {
    hint: "compare fingerprints with the master, then remove the file or set master_finger",
  });
}

/** Keeps the master, on disk when it resolves. */
export async function pinMaster(host: Host, stateDir: string, master: PublicIdentity): Promise<void> {
  const text = `${fingerprint(master)} ${packPublicIdentity(master).toString("base64")}\n`;
  await host.makeDirectory(stateDir, 0o700);
  await host.writeFile(fileOf(stateDir), Buffer.from(text), { mode: 0o600 });
}

/** Which master this minion believes, from its configuration and its memory. Says loudly when it believes the first. */
export function masterTrust(
  host: Host,
  config: MinionConfig,
  pinned: PublicIdentity | undefined,
  log: Logger,
): MasterTrust {
  const { fingerprints, trustOnFirstUse, stateDir } = config;
  const firstUse = trustOnFirstUse && fingerprints.length === 0 && pinned === undefined;
  if (firstUse) {
    log.warn("no master is known yet and master_finger is not set: the first master that answers will be trusted");
  }
  // master_finger speaks for itself: a pin that it does not name is of no use
  const usable = pinned !== undefined && (fingerprints.length === 0 || fingerprints.includes(fingerprint(pinned)));
  return {
    fingerprints,
    known: usable ? [pinned] : [],
    firstUse,
    remember: async (master) => {
      await pinMaster(host, stateDir, master);
      const how = firstUse ? "trusted on first use, compare it with the master's own" : "as master_finger asks";
      log.warn({ fingerprint: fingerprint(master) }, `master pinned (${how}): ${fingerprint(master)}`);
    },
  };
}
