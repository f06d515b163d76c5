import { meanMachine, measureMachine } from "./machine.ts";
import { machineRows } from "./machine-rows.ts";
import { type BenchResult, formatTable, scaledLimit } from "./table.ts";

/** Each bench by name; loaded only when asked for. */
const BENCHES: Readonly<Record<string, () => Promise<{ run(): Promise<BenchResult> }>>> = {
  lease: async () => await import("./lease.ts"),
  boot: async () => await import("./boot.ts"),
  volume: async () => await import("./volume.ts"),
  engine: async () => await import("./engine-table.ts"),
  fanout: async () => await import("./fanout.ts"),
  attack: async () => await import("./attack.ts"),
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

const figures: Record<string, number> = {};
let machine = await measureMachine();
for (const name of wanted) {
  const bench = await BENCHES[name]?.();
  if (!bench) continue;
  const before = machine;
  const result = await bench.run();
  machine = await measureMachine();
  // a shared machine is not as fast at the end as it was at the beginning: budgets are scaled by the middle of both
  const meanwhile = meanMachine(before, machine);
  const rows = machineRows(meanwhile, [before, machine]);
  console.log(formatTable("this machine meanwhile", { rows }, meanwhile));
  console.log(formatTable(name, result, meanwhile));
  for (const { key, value } of rows) figures[key] = value;
  for (const { key, value, budget } of result.rows) {
    figures[key] = value;
    if (!budget) continue;
    figures[`${key}Budget`] = budget.limit;
    const scaled = scaledLimit(budget, meanwhile);
    if (scaled !== undefined) figures[`${key}BudgetScaled`] = scaled;
  }
}
if (args.includes("--json")) console.log(JSON.stringify(figures));
