import { DESIGN, type Machine } from "./machine.ts";
import { type BenchRow, digits } from "./table.ts";

/** A machine as rows of a table, with what it was measured to be before and after. */
export function machineRows(machine: Machine, ends: readonly Machine[]): readonly BenchRow[] {
  const row = (key: string, figure: keyof Machine, unit: string, note?: string): BenchRow => {
    const measured = ends.map((one) => digits(one[figure])).join(" and ");
    return { key, value: machine[figure], unit, note: note === undefined ? measured : `${measured}; ${note}` };
  };
  return [
    row("machineNodeStartMs", "nodeStartMs", "ms", `bare Node; the budgets' machine ${DESIGN.nodeStartMs}`),
    row("machineEd25519VerifyUs", "ed25519VerifyUs", "us", `the budgets' machine ${DESIGN.ed25519VerifyUs}`),
    row("machineX25519Us", "x25519Us", "us", `the budgets' machine ${DESIGN.x25519Us}`),
    row("machineFsyncMs", "fsyncMs", "ms"),
  ];
}
