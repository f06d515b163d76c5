import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitUntil } from "../../../../lab/wait-until.ts";
import type { VolumeOperation, VolumeStep } from "../../../../src/core/volume-steps.ts";
import { realHost } from "../machine.ts";
import { Fleet, type JobEnd } from "./fleet.ts";
import { buildProcesses } from "./processes.ts";
import { proveStoredKeyOpens } from "./proof.ts";
import {
  JOB_OF,
  kwargsOf,
  type MatrixVolume,
  mustOpenAt,
  operationOf,
  OPERATIONS,
  pillarOf,
  stepsOf,
  Witnesses,
} from "./scenario.ts";

const DONE_MS = 60_000;
const SMALL_MIB = 48;
const LARGE_MIB = 80;

/** Who is killed with SIGKILL. */
export type Mortal = "master" | "minion";

/**
 * The tests of one victim's half of the kill matrix. Each row is an operation, each column a step that the code lists; at each
 * of them the victim is killed. Then a stored key opens the header as it stands (I3) and every file is as it was written.
 * The victim is started again, and the operation goes on from there to the next step: one that did not would never reach it.
 */
export function killMatrix(victim: Mortal): void {
  const matrix = new KillMatrix(victim);
  beforeAll(() => matrix.start());
  afterAll(async () => {
    await matrix.stop();
    console.log(matrix.summary());
  });

  describe.each(OPERATIONS)("during %s", (operation) => {
    beforeAll(() => matrix.declare(operation === "grow" ? LARGE_MIB : undefined));
    test.each(stepsOf(operation))("I1, I2, I3: at %s", async (step) => {
      await expect(matrix.survive(step)).resolves.toBeUndefined();
    });
    test("it completes, and the volume opens with a leased key", async () => {
      expect(await matrix.complete(operation)).toEqual([]);
    });
  });

  test("every step that the code lists was reached", () => {
    const listed = OPERATIONS.flatMap((operation) => stepsOf(operation));
    expect(listed.filter((step) => !matrix.reached.has(step))).toEqual([]);
  });
}

class KillMatrix {
  readonly #victim: Mortal;
  readonly #directory = mkdtempSync(join(tmpdir(), "latchkey-matrix-"));
  readonly #fleet = new Fleet({
    processes: join(this.#directory, "processes"),
    masterDirectory: join(this.#directory, "master"),
    minionDirectory: join(this.#directory, "minion"),
    runDirectory: join(this.#directory, "run"),
    returnPort: 14_506,
  });
  readonly #host = realHost();
  readonly #witnesses = new Witnesses();
  readonly #passed: VolumeStep[] = [];
  #volume: MatrixVolume;
  #keysProven = 0;

  constructor(victim: Mortal) {
    this.#victim = victim;
    this.#volume = { name: `of-${victim}`, sizeMiB: SMALL_MIB };
  }

  get #mount(): string {
    return join(this.#directory, `mnt-${this.#volume.name}`);
  }

  get #file(): string {
    return join(this.#directory, `${this.#volume.name}.img`);
  }

  /** Every step that the minion reached. */
  get reached(): ReadonlySet<string> {
    return new Set(this.#fleet.steps());
  }

  async start(): Promise<void> {
    const processes = join(this.#directory, "processes");
    mkdirSync(processes);
    await buildProcesses(processes);
    await this.#fleet.startMaster();
    this.#fleet.startMinion();
    await this.#fleet.connected();
  }

  /** Ends what runs, and takes the volume off the machine however far it is. */
  async stop(): Promise<void> {
    await this.#fleet.stop();
    const okCodes = [0, 1, 2, 3, 4, 5, 32];
    const { name } = this.#volume;
    await this.#host.run(["umount", this.#mount], { okCodes });
    await this.#host.run(["dmsetup", "remove", name], { okCodes });
    await this.#host.run(["dmsetup", "remove", `vgx${name.replaceAll("-", "--")}-data`], { okCodes });
    const loops = await this.#host.run(["losetup", "-j", this.#file, "-O", "NAME", "-n"], { okCodes });
    for (const loop of loops.stdout.split("\n").filter(Boolean))
      await this.#host.run(["losetup", "-d", loop], { okCodes });
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Declares the volume in pillar, with another size when one is given. */
  declare(sizeMiB = this.#volume.sizeMiB): void {
    this.#volume = { ...this.#volume, sizeMiB };
    this.#fleet.setPillar(pillarOf([this.#volume], this.#directory));
  }

  /** The matrix in lines: per operation how many steps the code lists, and at how many the victim was killed and all was well. */
  summary(): string {
    const rows = OPERATIONS.map((operation) => {
      const count = this.#passed.filter((step) => operationOf(step) === operation).length;
      return `  ${operation.padEnd(12)}${String(stepsOf(operation).length).padStart(5)}${String(count).padStart(16)}`;
    });
    const head = `  ${"operation".padEnd(12)}steps   ${this.#victim} killed`;
    const proofs = `${this.#keysProven} headers opened by a stored key, ${this.#witnesses.looks} checksums compared`;
    return ["", `kill matrix: ${this.#passed.length} deaths survived, ${proofs}`, head, ...rows].join("\n");
  }

  /** The victim dies at the step; then a stored key opens the volume and its files are whole, or this throws. */
  async survive(step: VolumeStep): Promise<void> {
    await this.#killAt(step);
    try {
      // a minion whose master was killed is held at the step until this is done
      await this.#proveAt(step);
    } finally {
      if (this.#victim === "minion") {
        this.#fleet.spare();
        this.#fleet.startMinion();
        await this.#fleet.connected();
      }
    }
    this.#passed.push(step);
  }

  /** The operation comes to its end, and the volume, stopped and started, opens with a leased key; what is not as it should be. */
  async complete(operation: VolumeOperation): Promise<readonly string[]> {
    this.#fleet.spare();
    await this.#fleet.connected();
    await this.#succeeds(JOB_OF[operation]);
    if (operation === "unprovision") return existsSync(this.#file) ? [this.#file] : [];
    await this.#succeeds("volume.stop");
    const mapping = `/dev/mapper/${this.#volume.name}`;
    if (existsSync(mapping)) return [mapping];
    await this.#succeeds("volume.start");
    const damaged = this.#witnesses.damaged(this.#mount);
    this.#witnesses.add(join(this.#mount, operation));
    return damaged;
  }

  /** Has the victim die at `step` of the operation, which goes on from where an earlier death left it; then the master is back. */
  async #killAt(step: VolumeStep): Promise<void> {
    const fun = JOB_OF[operationOf(step)];
    const fleet = this.#fleet;
    fleet.doom(step, this.#victim);
    // what was under way may come to the step by itself; else the job is pushed, and once more when it was past the step
    for (let pushes = 0; !fleet.struck && pushes < 2; pushes += 1) {
      // a format that went on past this step left nothing to make, and nothing is in it yet: it begins anew
      if (pushes > 0 && operationOf(step) === "provision") await this.#succeeds(JOB_OF.unprovision);
      let end: JobEnd | undefined;
      if (!fleet.minionWorks) void fleet.run(fun, kwargsOf(fun, this.#volume.name)).then((known) => (end = known));
      else await waitUntil("the job under way ends", () => fleet.struck || !fleet.minionWorks, DONE_MS, 10);
      await waitUntil(`${step} is reached`, () => fleet.struck || end?.kind === "returned", DONE_MS, 10);
      if (!fleet.struck && end?.kind === "returned" && !end.success) throw new Error(JSON.stringify(end.data));
    }
    if (!fleet.struck) throw new Error(`${step} was not reached`);
    const isDead = () => !(this.#victim === "minion" ? fleet.minionRuns : fleet.masterRuns);
    await waitUntil(`the ${this.#victim} is dead`, isDead, DONE_MS, 5);
    if (this.#victim === "master") await fleet.startMaster();
  }

  /** Throws unless a stored key opens the volume and its files are whole, as far as it is there at that step. */
  async #proveAt(step: VolumeStep): Promise<void> {
    if (mustOpenAt(step)) {
      await proveStoredKeyOpens(this.#host, this.#fleet, this.#volume.name);
      this.#keysProven += 1;
    }
    const isMounted = operationOf(step) !== "unprovision" || step === "unprovision:noted";
    const damaged = isMounted ? this.#witnesses.damaged(this.#mount) : [];
    if (damaged.length > 0) throw new Error(`gone or changed: ${damaged.join(", ")}`);
  }

  async #succeeds(fun: string): Promise<void> {
    const end = await this.#fleet.run(fun, kwargsOf(fun, this.#volume.name));
    if (end.kind !== "returned" || !end.success) throw new Error(`${fun}: ${JSON.stringify(end)}`);
  }
}
