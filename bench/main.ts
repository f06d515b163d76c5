import { measureMachine } from "./machine.ts";
import { type BenchResult, formatTable, scaledLimit } from "./table.ts";

/** Each bench by name; loaded only when asked for. */
const BENCHES: Readonly<Record<string, () => Promise<{ run(): Promise<BenchResult> }>>> = {
  lease: async () => await import("./lease.ts"),
  boot: async () => await import("./boot.ts"),
  volume: async () => await import("./volume.ts"),
  engine: async () => await import("./engine-table.ts"),
  fanout: async () => await import("./fanout.ts"),
};

const args = process.argv.slice(2);
const names = args.filter((argument) => !argument.startsWith("-"));
const wanted = names.length > 0 ? names : Object.keys(BENCHES);

const unknown = wanted.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(
    `latchkey bench: no bench named ${unknown.join(", ")}\nhint: choose from ${Object.keys(BENCHES).join(", ")}`,
  );
  process.exit(2);
}

const machine = await measureMachine();
console.log(
  formatTable(
    "this machine",
    {
      rows: [
        {
          key: "machineNodeStartMs",
          value: machine.nodeStartMs,
          unit: "ms",
          note: "bare Node; the budgets' machine 26",
        },
        { key: "machineEd25519VerifyUs", value: machine.ed25519VerifyUs, unit: "us", note: "the budgets' machine 80" },
        { key: "machineX25519Us", value: machine.x25519Us, unit: "us", note: "the budgets' machine 30" },
        { key: "machineFsyncMs", value: machine.fsyncMs, unit: "ms" },
      ],
    },
    machine,
  ),
);
const figures: Record<string, number> = {
  machineNodeStartMs: machine.nodeStartMs,
  machineEd25519VerifyUs: machine.ed25519VerifyUs,
  machineX25519Us: machine.x25519Us,
  machineFsyncMs: machine.fsyncMs,
};
for (const name of wanted) {
  const bench = await BENCHES[name]?.();
  if (!bench) continue;
  const result = await bench.run();
  console.log(formatTable(name, result, machine));
  for (const { key, value, budget } of result.rows) {
    figures[key] = value;
    if (!budget) continue;
    figures[`${key}Budget`] = budget.limit;
    const scaled = scaledLimit(budget, machine);
    if (scaled !== undefined) figures[`${key}BudgetScaled`] = scaled;
  }
}
if (args.includes("--json")) console.log(JSON.stringify(figures));
