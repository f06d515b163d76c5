import { HostError } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { serviceDead } from "../service/dead.ts";
import { serviceRunning } from "../service/running.ts";
import { compareDead, compareRunning, readUnits } from "../service/unit.ts";
import { resource } from "./parts.ts";
import type { StackContext } from "./stack-context.ts";

type Changes = Record<string, Json>;

/** Those of the volume's dependents that run now, in the order in which they are started. */
export async function runningDependents({ host, volume }: StackContext): Promise<readonly string[]> {
  const units = await readUnits(host, volume.dependents);
  return volume.dependents.filter((_, index) => {
    const unit = units[index];
    return unit !== undefined && compareDead(unit).length > 0;
  });
}

/**
 * Stops those of `names` that run, the last one first. Throws HostError `dependent-runs` for one that is still there
 * afterwards. Returns those that it stopped, in the order in which they are started.
 */
export async function stopDependents(
  context: StackContext,
  names: readonly string[],
  changes: Changes = {},
): Promise<readonly string[]> {
  const dead = resource(serviceDead);
  const stopped: string[] = [];
  for (const name of [...names].toReversed()) {
    context.progress?.(`stopping ${name}`);
    await dead.apply(dead.params.parse({ name }), context, [{ field: "running", from: "active", to: "inactive" }]);
    changes[`dependent ${name}`] = { old: "running", new: "stopped" };
    stopped.unshift(name);
  }
  const [left] = stopped.length === 0 ? [] : await runningAmong(context, stopped);
  if (left === undefined) return stopped;
  throw new HostError("dependent-runs", `cannot stop "${left}": it runs again, or still`, {
    hint: "something starts it: look at what requires it, at its socket or timer",
  });
}

async function runningAmong(context: StackContext, names: readonly string[]): Promise<readonly string[]> {
  const units = await readUnits(context.host, names);
  return names.filter((_, index) => {
    const unit = units[index];
    return unit !== undefined && compareDead(unit).length > 0;
  });
}

/**
 * Starts the volume's dependents in their order, those of them that do not run; a second look proves that they do. `began`
 * hears of each before it is started. Throws HostError `dependent-failed`.
 */
export async function startDependents(
  context: StackContext,
  changes: Changes,
  began: (name: string) => void,
): Promise<void> {
  const { host, volume } = context;
  const running = resource(serviceRunning);
  const units = await readUnits(host, volume.dependents);
  const down = volume.dependents.flatMap((name, index) => {
    const unit = units[index];
    const differences = unit === undefined ? [] : compareRunning(name, unit);
    return differences.length === 0 ? [] : [{ name, differences }];
  });
  for (const { name, differences } of down) {
    context.progress?.(`starting ${name}`);
    began(name);
    await running.apply(running.params.parse({ name }), context, differences);
    changes[`dependent ${name}`] = { old: differences[0]?.from ?? "", new: "running" };
  }
  const after = await readUnits(
    host,
    down.map(({ name }) => name),
  );
  const failed = down.find((_, index) => after[index]?.active !== "active");
  if (failed === undefined) return;
  throw new HostError("dependent-failed", `cannot start "${failed.name}": it ended again`, {
    hint: `see why with: journalctl -u ${failed.name}`,
  });
}
