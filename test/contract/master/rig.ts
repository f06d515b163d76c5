import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ControlClient, controlClient } from "../../../src/cli/control-client.ts";
import { generateAgeIdentityFile, parseAgeIdentityFile } from "../../../src/core/age-identity.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { openSealed } from "../../../src/core/crypto/sealed-secret.ts";
import { generateDhKey } from "../../../src/core/crypto/x25519.ts";
import type { KeyList } from "../../../src/core/control-api.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Secret } from "../../../src/core/secret.ts";
import { type MasterConfig, masterConfigSchema } from "../../../src/master/config.ts";
import { type MasterOverrides, type RunningMaster, startMaster } from "../../../src/master/daemon.ts";
import type { PillarRoom } from "../../../src/master/pillar-room.ts";
import { SecretCache } from "../../../src/master/secret-cache.ts";
import { SecretVersions } from "../../../src/master/secret-versions.ts";
import { MemoryStore } from "../../../src/master/store/memory.ts";
import { signLease } from "../../../src/wire/lease-signature.ts";
import type { Response } from "../../../src/wire/messages.ts";
import type { TestMinion } from "../wire/pair.ts";

/** A pillar of one secret for every host whose id starts with `web`. */
export function tinyPillar(key: Buffer): PillarRoom {
  const clock = systemClock;
  const identity = parseAgeIdentityFile(generateAgeIdentityFile("now"), "test");
  const cache = new SecretCache(identity, clock);
  return {
    versions: new SecretVersions({ store: new MemoryStore(clock), identity, recoveryRecipients: [], cache, clock }),
    compile: async (id) =>
      id.startsWith("web")
        ? {
            pillar: { disk: { password: "secret:disk:password" } },
            secrets: new Map([["disk:password", { kind: "generate", file: "web.sls", line: 1 }]]),
          }
        : { pillar: {}, secrets: new Map() },
    resolveSecret: async () => ({ secret: Secret.take(Buffer.from(key)), version: 1, generated: true }),
    vault: {
      seal: async (plain) => Buffer.from(plain),
      recipientSet: "set",
      open: async (sealed) => sealed,
      openOnce: (armored) => Secret.take(Buffer.from(armored)),
      versions: async () => [1],
      key: async () => Secret.take(Buffer.from(key)),
    },
    extend: () => {},
    [Symbol.dispose]: () => cache[Symbol.dispose](),
  };
}

/** A configuration whose every path is below `directory`, on loopback and free ports. */
export function configIn(directory: string, more: Partial<MasterConfig> = {}): MasterConfig {
  return masterConfigSchema.parse({
    interface: "127.0.0.1",
    ret_port: 0,
    state_dir: join(directory, "state"),
    socket: join(directory, "run/master.sock"),
    file_roots: { base: [join(directory, "states")] },
    pillar_roots: { base: [join(directory, "pillar")] },
    heartbeat: 1,
    ...more,
  });
}

export interface Rig {
  readonly directory: string;
  readonly master: RunningMaster;
  readonly client: ControlClient;
  stop(): Promise<void>;
  accept(id: string): Promise<void>;
}

/** A directory that goes when the test ends. */
export function scratch(): { readonly directory: string; readonly remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-master-"));
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** A whole master in a directory, with its control API's client. */
export async function rig(
  directory: string,
  overrides: MasterOverrides = {},
  more: Partial<MasterConfig> = {},
): Promise<Rig> {
  const stopping = new AbortController();
  const config = configIn(directory, more);
  const log = createLogger("test", process.env["LATCHKEY_TEST_LOG"] ? "debug" : "silent");
  const master = await startMaster({ signal: stopping.signal, overrides: { config, log, ...overrides } });
  const client = controlClient(config.socket, new AbortController().signal);
  return {
    directory,
    master,
    client,
    stop: async () => {
      stopping.abort();
      await master.stopped;
    },
    accept: async (id) => {
      await client.request<KeyList>("POST", "/v1/keys", { action: "accept", match: id, dryRun: false });
    },
  };
}

/** Ports of a master as the wire's test minion takes them. */
export const portsOf = ({ master }: Rig) => ({
  returnPort: master.ports.return,
});

/** Asks for a lease as a minion does; the key when it was allowed. */
export async function leaseKey(
  minion: TestMinion,
  path: string,
  purpose: "format" | "open" = "open",
  bootId = "b",
  header: { readonly layout: string; readonly luksUuid: string } = { layout: "", luksUuid: "" },
): Promise<Buffer | Response<"lease">["verdict"]> {
  const { connection, identity } = minion;
  // a master closes the session of a minion that says nothing for three heartbeats: then there is a new one
  await connection.ready(AbortSignal.timeout(3000)).catch(() => undefined);
  const ephemeral = generateDhKey();
  const unsigned = {
    path,
    purpose,
    device: "/dev/vg0/data",
    version: 0,
    ...header,
    reencrypts: false,
    bootId,
    ephemeral: ephemeral.publicKey,
  };
  const answer = await connection.request("lease", signLease(unsigned, identity, connection.handshakeHash), {
    timeoutMs: 60_000,
  });
  if (answer.verdict !== "allow") return answer.verdict;
  return openSealed(answer.sealed, ephemeral, connection.master.dhKey).expose();
}
