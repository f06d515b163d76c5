import { HostError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { readLuksNumber } from "../../core/luks-number.ts";
import { readLuksHeader } from "./luks-header.ts";
import { waitFor } from "./wait-for.ts";

/**
 * From TERM, on which cryptsetup 2.6 ends between two pieces, to KILL: in the middle of one, which the next open recovers, and until
 * then what reads or writes that piece of an open device waits.
 */
const END_MS = 60_000;
/** TERM is lost on a cryptsetup that is still deriving its keys, so it is said again. */
const SAY_AGAIN_MS = 500;
const KILLED_MS = 10_000;

/** Whether the header says that a re-encryption is under way (LUKS2 specification 1.1, `requirements`). */
export function isReencrypting(metadata: JsonObject): boolean {
  const config = isJsonObject(metadata["config"]) ? metadata["config"] : {};
  const required = isJsonObject(config["requirements"]) ? config["requirements"]["mandatory"] : undefined;
  return Array.isArray(required) && required.some((one: Json) => typeof one === "string" && one.includes("reencrypt"));
}

const segmentsOf = (metadata: JsonObject): readonly (readonly [string, readonly string[]])[] =>
  Object.entries(isJsonObject(metadata["segments"]) ? metadata["segments"] : {}).map(([id, segment]) => {
    const flags = isJsonObject(segment) && Array.isArray(segment["flags"]) ? segment["flags"] : [];
    return [id, flags.map(String)] as const;
  });

/**
 * Whether a re-encryption has written every sector and lacks its end alone: what is data is one segment, by the new volume key. cryptsetup
 * (2.6.1 to 2.8.6, `_offset_forward`) takes one segment for none written, begins again, and reads by the old key what the new one wrote:
 * going on destroys everything (docs/reencryption-damage.md).
 */
export function isWrittenWhole(metadata: JsonObject): boolean {
  const segments = segmentsOf(metadata);
  const live = segments.filter(([, flags]) => flags.every((flag) => !flag.startsWith("backup")));
  const flagged = (flag: string) => segments.find(([, flags]) => flags.includes(flag))?.[0];
  const [only] = live;
  const [final, previous] = [flagged("backup-final"), flagged("backup-previous")];
  if (live.length !== 1 || only === undefined || only[1].length > 0 || final === undefined) return false;
  const digests = Object.values(isJsonObject(metadata["digests"]) ? metadata["digests"] : {}).filter(isJsonObject);
  const named = digests.map(({ segments: ids }) => (Array.isArray(ids) ? ids : []));
  return named.some((ids) => ids.includes(only[0]) && ids.includes(final) && !ids.includes(previous ?? ""));
}

/** How many bytes of the data segments have the new key already, as the header says; 0 when it does not say. */
export function reencryptedBytes(metadata: JsonObject): number {
  const segments = isJsonObject(metadata["segments"]) ? Object.values(metadata["segments"]) : [];
  const flagsOf = (segment: JsonObject) => (Array.isArray(segment["flags"]) ? segment["flags"] : []);
  const live = segments
    .filter(isJsonObject)
    .filter((segment) => flagsOf(segment).every((flag) => !String(flag).startsWith("backup")));
  const hot = live.find((segment) => flagsOf(segment).includes("in-reencryption"));
  const offsetOf = ({ offset }: JsonObject) => readLuksNumber(offset);
  const offsets = live.map(offsetOf).filter((offset) => offset !== undefined);
  const at = hot && offsetOf(hot);
  return at === undefined ? 0 : at - Math.min(...offsets);
}

/** Pids of processes that re-encrypt this very device, whoever started them. */
async function findProcesses(host: Host, device: string): Promise<readonly number[]> {
  const place = await host.realPath(device);
  const number = (await host.stat(device))?.rdev ?? "";
  const found: number[] = [];
  for (const name of (await host.readDirectory("/proc")) ?? []) {
    if (!/^\d+$/u.test(name)) continue;
    // one that ends while it is looked at re-encrypts nothing
    const line = await host.readFile(`/proc/${name}/cmdline`).catch(() => undefined);
    const [program = "", action, ...rest] = line?.toString("utf8").split("\0") ?? [];
    const last = rest.findLast((word) => word !== "");
    if (action !== "reencrypt" || !/(?:^|\/)cryptsetup$/u.test(program) || last === undefined) continue;
    const isIt = async () =>
      last === device ||
      (place !== undefined && (await host.realPath(last)) === place) ||
      // by another of its names, such as the kernel's own
      (number !== "" && (await host.stat(last))?.rdev === number);
    if (await isIt()) found.push(Number(name));
  }
  return found;
}

/** Whether a process re-encrypts this device right now. */
export async function isBeingReencrypted(host: Host, device: string): Promise<boolean> {
  return (await findProcesses(host, device)).length > 0;
}

/**
 * Stops the re-encryption of a device, so that it can be closed or suspended; it can be gone on with at any time. False when
 * none ran. Throws HostError `not-in-time`.
 */
export async function stopReencryption(
  { host, signal }: { readonly host: Host; readonly signal: AbortSignal },
  device: string,
): Promise<boolean> {
  const luks = await readLuksHeader(host, device);
  if (luks.kind !== "valid" || !isReencrypting(luks.header.metadata)) return false;
  let running = await findProcesses(host, device);
  if (running.length === 0) return false;
  const isOver = async () => {
    running = await findProcesses(host, device);
    return running.length === 0;
  };
  const what = "the end of the re-encryption";
  const deadline = performance.now() + END_MS;
  for (;;) {
    const isLate = performance.now() >= deadline;
    const name = isLate ? "KILL" : "TERM";
    // one that ended in between is no failure
    await host.run(["kill", `-${name}`, "--", ...running.map(String)], { okCodes: [0, 1, 64], signal });
    try {
      await waitFor(what, isOver, { timeoutMs: isLate ? KILLED_MS : SAY_AGAIN_MS, signal });
      return true;
    } catch (error) {
      if (isLate || !(error instanceof HostError) || error.code !== "not-in-time") throw error;
    }
  }
}

/** Resolves when no process re-encrypts this device any more. Rejects when the signal aborts. */
export async function waitForReencryption(
  { host, signal }: { readonly host: Host; readonly signal: AbortSignal },
  device: string,
): Promise<void> {
  const options = { timeoutMs: Number.POSITIVE_INFINITY, pollMs: 1000, signal };
  await waitFor("the end of the re-encryption", async () => !(await isBeingReencrypted(host, device)), options);
}
