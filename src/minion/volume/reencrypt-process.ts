import { HostError } from "../../core/errors.ts";
import type { JsonObject } from "../../core/json.ts";
import {
  isBeingReencrypted,
  isWrittenWhole,
  reencryptedBytes,
  stopReencryption,
  waitForReencryption,
} from "../../states/devices/luks-reencryption.ts";
import type { LeasedKey } from "../../states/state.ts";
import { tryDevice } from "./layer-status.ts";
import { requireLuks2 } from "./luks-device.ts";
import type { VolumeContext } from "./runner.ts";

/** A disk may take days. */
const TIMEOUT_MS = 14 * 86_400_000;
const LOOK_MS = 2000;
/** What is written at once: so long at most waits who reads or writes just there, and so long it takes to stop. */
const HOTZONE = "16M";

/** A re-encryption under way, ours or one that was found. */
export interface RunningReencryption {
  readonly path: string;
  /** Resolves when the process has ended, with what it failed with. */
  readonly ended: Promise<Error | undefined>;
}

const common = (key: LeasedKey) => [
  "cryptsetup",
  "reencrypt",
  "--batch-mode",
  "--type",
  "luks2",
  "--key-file=-",
  `--keyfile-size=${key.secret.length}`,
];

/** Tells how far it is every other second, until stopped. */
function watchProgress(context: VolumeContext, path: string, bytes: number): () => void {
  let isBusy = false;
  const look = async () => {
    if (isBusy) return;
    isBusy = true;
    const done = reencryptedBytes((await requireLuks2(context, path)).metadata);
    if (bytes > 0 && done > 0) context.progress(`${Math.floor((done / bytes) * 100)} % re-encrypted`);
    isBusy = false;
  };
  // a look that fails is no failure of what it looks at
  const timer = setInterval(() => void look().catch(() => (isBusy = false)), LOOK_MS);
  return () => clearInterval(timer);
}

/** Follows a process to its end; when this run is stopped, so is it, between two pieces. Never rejects. */
async function follow(context: VolumeContext, path: string, process: Promise<unknown>): Promise<Error | undefined> {
  const bytes = (await tryDevice(context.host, path))?.bytes ?? 0;
  const unwatch = watchProgress(context, path, bytes);
  const calm = { host: context.host, signal: new AbortController().signal };
  const stop = () => void stopReencryption(calm, path).catch(() => undefined);
  context.signal.addEventListener("abort", stop, { once: true });
  if (context.signal.aborted) stop();
  try {
    await process;
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    unwatch();
    context.signal.removeEventListener("abort", stop);
  }
}

function assertNotWhole(path: string, metadata: JsonObject): void {
  if (!isWrittenWhole(metadata)) return;
  throw new HostError(
    "written-whole",
    `cannot go on with the re-encryption of "${path}": every sector is written, only its end is missing, and cryptsetup would begin anew and destroy all data`,
    {
      hint: "run no `cryptsetup reencrypt` on it: it opens with its key and its data is whole; copy that to a new volume",
    },
  );
}

/** Writes into the header that the volume gets a second volume key; no sector is written yet. */
export async function initReencryption(
  { host, signal }: VolumeContext,
  path: string,
  key: LeasedKey,
  options: readonly string[],
): Promise<void> {
  const [program = "", ...words] = common(key);
  await host.run([program, ...words, "--init-only", ...options, "--", path], { stdin: key.secret, signal });
}

/**
 * Starts the process that writes on the device that `held` holds; resolves when it has taken the key. What it does from then on is
 * followed in `context`, which nothing is held in: no other header goes on with a re-encryption by that key. Throws HostError
 * `written-whole` where going on would begin anew on what is written.
 */
export async function startProcess(
  context: VolumeContext,
  held: Pick<VolumeContext, "host">,
  path: string,
  key: LeasedKey,
): Promise<RunningReencryption> {
  assertNotWhole(path, (await requireLuks2({ ...context, host: held.host }, path)).metadata);
  const [program = "", ...words] = common(key);
  const taken = Promise.withResolvers<void>();
  const process = held.host
    .run([program, ...words, "--resume-only", "--hotzone-size", HOTZONE, "--", path], {
      stdin: key.secret,
      stdinTaken: taken.resolve,
      timeoutMs: TIMEOUT_MS,
    })
    .finally(taken.resolve);
  const ended = follow(context, path, process);
  await taken.promise;
  return { path, ended };
}

/** One that runs already: of another job, or of a minion that was killed. Undefined when none does. */
export async function adoptProcess(context: VolumeContext, path: string): Promise<RunningReencryption | undefined> {
  if (!(await isBeingReencrypted(context.host, path))) return undefined;
  return { path, ended: follow(context, path, waitForReencryption(context, path)) };
}
