import { spawn } from "node:child_process";
import { diffieHellman, generateKeyPairSync, sign, verify } from "node:crypto";
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { percentiles } from "./percentiles.ts";

/** What this machine needs for what nobody can spare it. */
export interface Machine {
  /** Process start to end of a Node that does nothing. */
  readonly nodeStartMs: number;
  /** CPU of one Ed25519 verification by OpenSSL. */
  readonly ed25519VerifyUs: number;
  /** CPU of one X25519 agreement by OpenSSL. */
  readonly x25519Us: number;
  /** A 4 KiB write and its fsync, below the system's temporary directory. */
  readonly fsyncMs: number;
}

/** The machine that the budgets were written on. */
export const DESIGN = { nodeStartMs: 26, ed25519VerifyUs: 80, x25519Us: 30 } as const;

/** What scales a budget: `crypto` one verification and one agreement (a lease), `start` a bare Node's start. */
export type Scale = "crypto" | "start";

/** How many times slower than the machine of the budgets this one is. */
export function slowness(machine: Machine, scale: Scale): number {
  if (scale === "start") return machine.nodeStartMs / DESIGN.nodeStartMs;
  return (machine.ed25519VerifyUs + machine.x25519Us) / (DESIGN.ed25519VerifyUs + DESIGN.x25519Us);
}

/** Measures this machine as it is right now, other load included. */
export async function measureMachine(): Promise<Machine> {
  const signing = generateKeyPairSync("ed25519");
  const message = Buffer.alloc(200);
  const signature = sign(null, message, signing.privateKey);
  const [mine, theirs] = [generateKeyPairSync("x25519"), generateKeyPairSync("x25519")];
  return {
    nodeStartMs: await bareStartMs(),
    ed25519VerifyUs: cpuUs(() => verify(null, message, signing.publicKey, signature)),
    x25519Us: cpuUs(() => diffieHellman({ privateKey: mine.privateKey, publicKey: theirs.publicKey })),
    fsyncMs: fsyncMs(),
  };
}

/** Between two measurements of the same machine. */
export function meanMachine(a: Machine, b: Machine): Machine {
  const between = (figure: keyof Machine) => (a[figure] + b[figure]) / 2;
  return {
    nodeStartMs: between("nodeStartMs"),
    ed25519VerifyUs: between("ed25519VerifyUs"),
    x25519Us: between("x25519Us"),
    fsyncMs: between("fsyncMs"),
  };
}

async function bareStartMs(): Promise<number> {
  const samples: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    const begun = performance.now();
    const child = spawn(process.execPath, ["-e", "0"], { stdio: "ignore" });
    await new Promise((done) => {
      child.once("close", done);
    });
    samples.push(performance.now() - begun);
  }
  return percentiles(samples).median;
}

function cpuUs(work: () => unknown): number {
  const samples: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    const before = process.cpuUsage();
    for (let count = 0; count < 200; count += 1) work();
    const { user, system } = process.cpuUsage(before);
    samples.push((user + system) / 200);
  }
  return percentiles(samples).median;
}

function fsyncMs(): number {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-bench-fsync-"));
  const file = openSync(join(directory, "file"), "w");
  const page = Buffer.alloc(4096, 1);
  const samples: number[] = [];
  for (let round = 0; round < 50; round += 1) {
    const begun = performance.now();
    writeSync(file, page);
    fsyncSync(file);
    samples.push(performance.now() - begun);
  }
  closeSync(file);
  rmSync(directory, { recursive: true });
  return percentiles(samples).median;
}
