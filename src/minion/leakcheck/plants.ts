import { mkdirSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Host } from "../../core/host.ts";
import { maskNeedles } from "../../core/masked-needles.ts";
import { needleForms } from "../../core/needles.ts";
import type { Secret } from "../../core/secret.ts";
import { Hunt } from "./hunt.ts";
import type { Place } from "./place-names.ts";
import { type Ground, spoolDirectories } from "./places.ts";
import { sampleProcesses } from "./process-sampler.ts";

/** Takes away what was planted. */
export type Uproot = () => Promise<void>;

const NO_LIMITS = { bytes: Number.POSITIVE_INFINITY, begunMs: 0, ends: () => false };
const plantFile = (): string => `leakcheck-plant-${process.pid}`;
const WAIT = "setTimeout(() => {}, 600_000)";
// xargs makes of the text on its input an argument and an environment variable of a process that waits, and says nothing;
// the mark must not be part of the program, which would not even parse with a key in it, and print it
const MARK = "@{}@";
const CARELESS = ["xargs", `-I${MARK}`, "env", `LEAKED=${MARK}`, process.execPath, "-e", WAIT, MARK] as const;

/**
 * Leaks the canary on purpose, to see that the hunt finds it: as careless programs do, and as text where text is usual.
 * No text of this process holds it, so that only the planted place is dirty.
 */
export async function plantIn(place: Place, secret: Secret, host: Host, ground: Ground): Promise<Uproot> {
  switch (place) {
    case "memory":
      return plantInMemory(secret);
    case "processes":
      return plantInProcess(secret, host);
    case "spool":
      return plantInFile(join(spoolDirectories(ground.config.stateDir)[1] ?? "", plantFile()), secret, "base64+1");
    case "state":
      return plantInFile(join(ground.config.stateDir, plantFile()), secret, "hex");
    case "own-log":
      return plantInOwnLog(secret);
    case "temp":
      return plantInFile(join("/tmp", plantFile()), secret, "raw");
    case "logs":
      return plantInFile(join("/var/log", `${plantFile()}.log`), secret, "base64+0");
    case "swap":
      return plantInFile(ground.swapStandIn ?? "", secret, "raw");
    default:
      return place satisfies never;
  }
}

function formOf(secret: Secret, wanted: string): Buffer {
  const found = needleForms(secret.expose()).find(({ form }) => form === wanted);
  const length = found?.length ?? 0;
  // outside the heap, where the collector would copy it
  const bytes = Buffer.from(new ArrayBuffer(length));
  for (let index = 0; index < length; index += 1) bytes[index] = found?.byteAt(index) ?? 0;
  return bytes;
}

async function plantInMemory(secret: Secret): Promise<Uproot> {
  const copy = formOf(secret, "raw");
  return async () => {
    copy.fill(0);
  };
}

async function plantInFile(path: string, secret: Secret, form: string): Promise<Uproot> {
  const bytes = formOf(secret, form);
  mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
  writeFileSync(path, bytes, { mode: 0o600, flag: "wx" });
  bytes.fill(0);
  return async () => rmSync(path, { force: true });
}

async function plantInOwnLog(secret: Secret): Promise<Uproot> {
  const bytes = formOf(secret, "HEX");
  writeSync(process.stderr.fd, bytes);
  writeSync(process.stderr.fd, "\n");
  bytes.fill(0);
  return async () => {};
}

async function plantInProcess(secret: Secret, host: Host): Promise<Uproot> {
  const stop = new AbortController();
  const line = Buffer.from(new ArrayBuffer(2 * secret.length + 1));
  const hex = formOf(secret, "hex");
  hex.copy(line);
  hex.fill(0);
  line[line.length - 1] = 0x0a;
  // ended by the abort, which is no failure
  const ended = host.run(CARELESS, { stdin: line, signal: stop.signal, timeoutMs: 600_000 }).catch(() => undefined);
  await untilItRuns(secret);
  line.fill(0);
  return async () => {
    stop.abort();
    await ended;
  };
}

/** Waits until the careless process shows the key: only then is our own copy, which it reads, out of the way. */
async function untilItRuns(secret: Secret): Promise<void> {
  const needles = maskNeedles(secret.expose());
  for (const give = performance.now() + 5000; performance.now() < give; await setImmediate()) {
    const hunt = new Hunt("processes", needles, NO_LIMITS);
    sampleProcesses(hunt);
    if (hunt.report().hits.some(({ where }) => where.endsWith("/cmdline"))) return;
  }
}
