import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROJECT } from "../../../../lab/place.ts";
import type { VolumeOperation, VolumeStep } from "../../../../src/core/volume-steps.ts";
import type { LabKernel } from "../../../../lab/kernel.ts";
import { guestCommand } from "../../guest.ts";
import type { GuestPlan, GuestReport } from "./guest.ts";
import { PROCESS_FILES } from "./process-files.ts";
import { buildProcesses } from "./processes.ts";
import { JOB_OF, mustOpenAt, operationOf, stepsOf } from "./scenario.ts";

const BOOT_MS = 150_000;
const DISK_MIB = 512;
const SMALL_MIB = 48;
const LARGE_MIB = 80;

const sizeFor = (operation: VolumeOperation): number => (operation === "grow" ? LARGE_MIB : SMALL_MIB);

/** How the volume has to open after a cut at the step. */
function opensAfter(step: VolumeStep | undefined): GuestPlan["opens"] {
  if (step === undefined || !mustOpenAt(step)) return "not yet";
  return operationOf(step) === "provision" ? "by a stored key" : "by a start";
}

interface Cell {
  readonly step: VolumeStep;
  readonly settled: PromiseWithResolvers<void>;
}

/** One host that lives through operations on a volume, its power going at every step; each boot proves what the last cut left. */
export class PowerChain {
  readonly #kernel: LabKernel;
  readonly #exchange = mkdtempSync(join(tmpdir(), "latchkey-power-"));
  readonly #disk = join(this.#exchange, "disk.img");
  readonly #cells: readonly Cell[];
  readonly #end = Promise.withResolvers<void>();
  readonly #sums: Record<string, string> = {};
  readonly #survived: VolumeStep[] = [];
  #unplug: () => void = () => {};
  #disposed = false;
  #compared = 0;

  private constructor(kernel: LabKernel, operations: readonly VolumeOperation[]) {
    this.#kernel = kernel;
    const steps = operations.flatMap((operation) => stepsOf(operation));
    this.#cells = steps.map((step) => ({ step, settled: Promise.withResolvers<void>() }));
    // a cell that failed is told by its own test, which may come later
    for (const { promise } of [...this.#cells.map(({ settled }) => settled), this.#end]) promise.catch(() => {});
  }

  /** Starts the first boot; the rest follow by themselves. */
  static async start(kernel: LabKernel, operations: readonly VolumeOperation[]): Promise<PowerChain> {
    const chain = new PowerChain(kernel, operations);
    const at = chain.#exchange;
    for (const name of ["master", "processes"]) mkdirSync(join(at, name));
    await buildProcesses(join(at, "processes"));
    writeFileSync(chain.#disk, "");
    truncateSync(chain.#disk, DISK_MIB * 1024 * 1024);
    void chain.#run();
    return chain;
  }

  /** Resolves when the power went at the step and the next boot found all in order; rejects with what it found. */
  async outcome(step: VolumeStep): Promise<void> {
    await this.#cells.find((cell) => cell.step === step)?.settled.promise;
  }

  /** Resolves when the last boot found all in order. */
  async ended(): Promise<void> {
    await this.#end.promise;
  }

  /** The steps at which the power went, and all was well after. */
  get survived(): readonly VolumeStep[] {
    return this.#survived;
  }

  /** How many times a file was compared with its checksum. */
  get compared(): number {
    return this.#compared;
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#unplug();
    await this.#end.promise.catch(() => undefined);
    rmSync(this.#exchange, { recursive: true, force: true });
  }

  async #run(): Promise<void> {
    let before: Cell | undefined;
    try {
      for (const cell of [...this.#cells, undefined]) {
        if (this.#disposed) throw new Error("the tests were over");
        await this.#boot(before?.step, cell?.step);
        before?.settled.resolve();
        if (before !== undefined) this.#survived.push(before.step);
        before = cell;
      }
      this.#end.resolve();
    } catch (error) {
      before?.settled.reject(error);
      const after = new Error(`not run: the host did not survive ${before?.step ?? "its first boot"}`, {
        cause: error,
      });
      for (const { settled } of this.#cells) settled.reject(after);
      this.#end.reject(after);
    }
  }

  /** One boot: proves what the cut at `before` left, and is cut at `step`. */
  async #boot(before: VolumeStep | undefined, step: VolumeStep | undefined): Promise<void> {
    const plan = this.#plan(before, step);
    writeFileSync(join(this.#exchange, "plan.json"), JSON.stringify(plan));
    rmSync(join(this.#exchange, "report.json"), { force: true });
    const end = await this.#power(plan.cut === null ? undefined : `power-cut-now ${plan.cut.step}`);
    const output = join(this.#exchange, "output");
    const said = existsSync(output) ? readFileSync(output, "utf8") : "";
    if (!existsSync(join(this.#exchange, "report.json"))) throw new Error(`the boot after ${before} failed: ${said}`);
    const report = JSON.parse(readFileSync(join(this.#exchange, "report.json"), "utf8")) as GuestReport;
    if (report.problems.length > 0) throw new Error(`after ${before}: ${report.problems.join("\n")}`);
    if (end !== (plan.cut === null ? "halted" : "cut")) throw new Error(`the boot to ${step}: ${end}\n${said}`);
    if (plan.opens === "by a start") this.#compared += Object.keys(plan.sums).length;
    if (report.sum !== null && plan.witness !== null) this.#sums[plan.witness] = report.sum;
  }

  #plan(before: VolumeStep | undefined, step: VolumeStep | undefined): GuestPlan {
    const last = before === undefined ? undefined : operationOf(before);
    const next = step === undefined ? undefined : operationOf(step);
    // the first operation of a chain that does not begin with provisioning gets its volume first
    const isMade = before !== undefined || next === "provision";
    const isOver = last !== undefined && last !== next;
    const finish = isMade ? (isOver ? JOB_OF[last] : null) : "volume.provision";
    return {
      sizeMiB: sizeFor(last ?? "provision"),
      opens: opensAfter(before),
      sums: this.#sums,
      finish,
      witness: finish === null || last === "unprovision" ? null : `after-${last ?? "provision"}`,
      cut: step === undefined || next === undefined ? null : { fun: JOB_OF[next], step, sizeMiB: sizeFor(next) },
    };
  }

  /** Runs the guest until it halts, or until it says the line at which its power goes. */
  async #power(line: string | undefined): Promise<"cut" | "halted"> {
    const script = `SCRIPT=${join("/run/exchange/processes", PROCESS_FILES.guest)}`;
    const parameters = ["mem=512M", `ubd0=${this.#disk}`];
    const { argv, env, dispose } = await guestCommand(this.#kernel, this.#exchange, [script], parameters);
    const [file, ...args] = argv;
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "ignore"], env, cwd: PROJECT, detached: true });
    const unplug = (): void => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        process.kill(-child.pid, "SIGKILL");
      }
    };
    this.#unplug = unplug;
    const timer = setTimeout(unplug, BOOT_MS);
    process.once("exit", unplug);
    let said = "";
    let end: "cut" | "halted" = "halted";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (end === "cut" || line === undefined || !said.includes(line)) return;
      end = "cut";
      unplug();
    });
    await once(child, "close");
    clearTimeout(timer);
    process.off("exit", unplug);
    dispose();
    return end;
  }
}
