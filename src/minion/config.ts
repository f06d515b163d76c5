import { hostname } from "node:os";
import { ConfigError } from "../core/errors.ts";
import type { Host } from "../core/host.ts";
import { assertMinionId, SLS_NAME } from "../core/ids.ts";
import { parseFingerprint } from "../core/identity.ts";
import { isJsonObject, type Json } from "../core/json.ts";
import { jsonObjectSchema } from "../core/json-schema.ts";
import { z } from "../core/schema.ts";
import { configErrorAt, quoteLine } from "../sls/located-error.ts";
import { didYouMean } from "../sls/nearest.ts";
import { parseYamlDocument, type YamlDocument } from "../sls/yaml.ts";
import type { MasterAddress } from "../wire/endpoints.ts";
import { parseMasterAddress } from "./master-address.ts";

/** Where a minion's configuration is read from unless another path is given. */
export const MINION_CONFIG_PATH = "/etc/latchkey/minion.yaml";

const port = z.number().int().min(1).max(65_535);
const seconds = z.number().positive().max(86_400);
const path = z.string().startsWith("/", "must be an absolute path");
const oneOrMore = z.union([z.string(), z.array(z.string()).min(1)]);

/** What a configuration file may hold; `parseMinionConfig` makes a MinionConfig of it. */
export const minionFileSchema = z.strictObject({
  master: oneOrMore.default("salt").describe("Master's address, or a list tried in order; `host` or `host:port`."),
  master_port: port.default(4506).describe("Port of the master."),
  publish_port: port.optional().describe("Of no use any more: jobs come on the session."),
  id: z.string().optional().describe("Minion id; the host name when not given."),
  master_finger: oneOrMore.optional().describe("Fingerprint of the master, or a list; any other master is refused."),
  trust_on_first_use: z.boolean().optional().describe("Pin the first master that answers; only without master_finger."),
  startup_states: z.enum(["highstate", "sls", "top", ""]).default("").describe("What to run once a boot."),
  sls_list: z.array(z.string().regex(SLS_NAME)).default([]).describe("SLS files for `startup_states: sls`."),
  top_file: z.string().default("").describe("Top file of the file roots for `startup_states: top`."),
  startup_retry_min: seconds.default(5).describe("Seconds until a failed startup run is tried again."),
  startup_retry_max: seconds.default(300).describe("Most seconds between two tries."),
  state_dir: path.default("/var/lib/latchkey/minion").describe("Identity, pinned master, returns, journal."),
  cache_dir: path.optional().describe("Files of the master, by hash; `cache` in state_dir when not given."),
  run_dir: path.default("/run/latchkey").describe("What lasts until the next boot."),
  volume_check_interval: z
    .number()
    .min(0)
    .max(31 * 86_400)
    .default(86_400)
    .describe("Seconds between two checks of keys and headers of volumes; 0 for none."),
  log_level: z
    .enum(["trace", "debug", "info", "warn", "error"])
    .default("info")
    .describe("Least level that is logged."),
  grains: jsonObjectSchema.default({}).describe("Grains of this host, over those found."),
});

/** A minion's configuration, checked, defaults filled in. */
export interface MinionConfig {
  readonly id: string;
  readonly masters: readonly [MasterAddress, ...MasterAddress[]];
  readonly fingerprints: readonly string[];
  readonly trustOnFirstUse: boolean;
  readonly startupStates: "highstate" | "sls" | "top" | "";
  readonly slsList: readonly string[];
  readonly topFile: string;
  readonly startupRetryMinMs: number;
  readonly startupRetryMaxMs: number;
  readonly stateDir: string;
  readonly cacheDir: string;
  readonly runDir: string;
  /** 0 for never. */
  readonly volumeCheckIntervalMs: number;
  readonly logLevel: string;
  /** Settings in the file that mean nothing any more. */
  readonly unused: readonly string[];
  readonly grains: Readonly<Record<string, Json>>;
}

const listOf = (value: string | readonly string[]): readonly string[] => (typeof value === "string" ? [value] : value);

/**
 * Reads a minion's configuration. A missing file is an error only when `path` was asked for by the operator; at the
 * default place it means all defaults. Throws ConfigError with file and line.
 */
export async function loadMinionConfig(host: Host, path: string, id?: string): Promise<MinionConfig> {
  const bytes = await host.readFile(path);
  if (bytes === undefined && path !== MINION_CONFIG_PATH) {
    throw new ConfigError("no-config", `cannot read configuration "${path}": no such file`, { facts: { file: path } });
  }
  return parseMinionConfig(bytes?.toString("utf8") ?? "", path, id);
}

/** The configuration in a text; `file` is for messages. `id` takes the place of the configured one. */
export function parseMinionConfig(text: string, file: string, id?: string): MinionConfig {
  const document = parseYamlDocument(text, file);
  const at = (line: number, message: string) =>
    configErrorAt("bad-config", `cannot use configuration: ${message}`, { file, line }, quoteLine(text, line));
  const value = document.value ?? {};
  if (!isJsonObject(value)) throw at(1, "it is not a map of settings");
  const parsed = minionFileSchema.safeParse(value);
  if (!parsed.success) throw at(...explain(parsed.error.issues[0], value, document));
  const settings = parsed.data;
  const located = <T>(key: string, act: () => T): T => {
    try {
      return act();
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      throw at(document.lineOf(value, key), thrown.message);
    }
  };
  const [first, ...others] = located("master", () =>
    listOf(settings.master).map((entry) => parseMasterAddress(entry, settings.master_port)),
  );
  if (first === undefined) throw at(document.lineOf(value, "master"), '"master" is empty');
  const fingers = settings.master_finger === undefined ? [] : listOf(settings.master_finger);
  if (fingers.length > 0 && settings.trust_on_first_use === true) {
    throw at(document.lineOf(value, "trust_on_first_use"), '"trust_on_first_use" is of no use with "master_finger"');
  }
  if (settings.startup_states === "sls" && settings.sls_list.length === 0) {
    throw at(document.lineOf(value, "startup_states"), '"startup_states: sls" needs "sls_list"');
  }
  if (settings.startup_states === "top" && settings.top_file === "") {
    throw at(document.lineOf(value, "startup_states"), '"startup_states: top" needs "top_file"');
  }
  return {
    id: located("id", () => assertMinionId(id ?? settings.id ?? hostname())),
    masters: [first, ...others],
    fingerprints: located("master_finger", () => fingers.map((finger) => parseFingerprint(finger))),
    trustOnFirstUse: settings.trust_on_first_use ?? fingers.length === 0,
    startupStates: settings.startup_states,
    slsList: settings.sls_list,
    topFile: settings.top_file,
    startupRetryMinMs: settings.startup_retry_min * 1000,
    startupRetryMaxMs: Math.max(settings.startup_retry_max, settings.startup_retry_min) * 1000,
    stateDir: settings.state_dir,
    cacheDir: settings.cache_dir ?? `${settings.state_dir}/cache`,
    runDir: settings.run_dir,
    volumeCheckIntervalMs: settings.volume_check_interval * 1000,
    logLevel: settings.log_level,
    unused: settings.publish_port === undefined ? [] : ["publish_port"],
    grains: settings.grains,
  };
}

type Issue = z.core.$ZodIssue;

function explain(issue: Issue | undefined, value: object, document: YamlDocument): readonly [number, string] {
  if (issue === undefined) return [1, "it is not understood"];
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const known = Object.keys(minionFileSchema.shape);
    return [document.lineOf(value, key), `unknown setting "${key}"${didYouMean(key, known)}`];
  }
  const key = String(issue.path[0] ?? "");
  return [document.lineOf(value, key), `"${issue.path.join(".")}": ${issue.message}`];
}
