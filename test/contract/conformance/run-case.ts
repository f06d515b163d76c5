import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../src/core/clock.ts";
import { BugError } from "../../../src/core/errors.ts";
import type { Json } from "../../../src/core/json.ts";
import { createHost } from "../../../src/minion/host.ts";
import type { EngineDeps, ExecutionFunction } from "../../../src/minion/engine/deps.ts";
import { retcodeOf, runStates } from "../../../src/minion/engine/run.ts";
import { compile } from "../../../src/sls/compile.ts";
import { STATES } from "../../../src/states/registry.ts";
import { catalogueOf } from "../../../src/states/validate.ts";
import type { SaltCase } from "./salt-cases.ts";

export interface OurRow {
  readonly id: string;
  readonly fun: string;
  readonly name: string;
  readonly result: boolean | null;
  readonly changed: boolean;
  readonly ran: boolean;
  readonly comment: string;
}

export interface OurRun {
  readonly rows: readonly OurRow[];
  readonly errors: readonly string[];
  readonly retcode: number;
}

const host = createHost();

const FUNCTIONS: Readonly<Record<string, ExecutionFunction>> = {
  "test.true": async () => true,
  "test.false": async () => false,
  "file.file_exists": async ([path]: readonly Json[]) =>
    typeof path === "string" && (await host.stat(path)) !== undefined,
  "match.grain": async () => false,
};

/** An engine on the real host, without leases: no case of Salt's has any. */
export function engineDeps(): EngineDeps {
  const none = async (): Promise<never> => {
    throw new BugError("unexpected", "no case leases, renders or journals");
  };
  return {
    id: "minion",
    host,
    clock: systemClock,
    random: () => 0,
    grains: {},
    pillar: {},
    states: STATES,
    source: none,
    leases: { lease: none, records: () => [] },
    journal: { begin: none, commit: none, pending: none },
    execution: (fun) => (Object.hasOwn(FUNCTIONS, fun) ? FUNCTIONS[fun] : undefined),
  };
}

/** Compiles and runs a case in an empty directory of its own. */
export async function runCase({ sls, files }: SaltCase, test: boolean): Promise<OurRun> {
  const directory = mkdtempSync(join(tmpdir(), "latchkey-conformance-"));
  const place = (text: string) => text.replaceAll("{T}", directory);
  try {
    const source = {
      read: async (path: string) => {
        const text = Object.hasOwn(files, path) ? files[path] : undefined;
        return text === undefined ? undefined : Buffer.from(place(text));
      },
    };
    const context = { id: "minion", grains: {}, pillar: {} };
    const compiled = await compile({ kind: "sls", names: [sls] }, source, context, catalogueOf(STATES));
    if (compiled.kind === "errors") {
      return { rows: [], errors: compiled.errors.map(({ message }) => message), retcode: 1 };
    }
    const returned = await runStates(compiled.chunks, engineDeps(), { test, signal: new AbortController().signal });
    const rows = Object.entries(returned).map(([key, row]): OurRow => {
      const [state, id = "", , fun] = key.split("_|-");
      const changed = Object.keys(row.changes).length > 0;
      const { result, comment, __state_ran__: ran } = row;
      const back = (text: string) => text.replaceAll(directory, "{T}");
      return { id, fun: `${state}.${fun}`, name: back(row.name), result, changed, ran, comment: back(comment) };
    });
    return { rows, errors: [], retcode: retcodeOf(returned) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
