import { readFile } from "node:fs/promises";
import { CONTROL_SOCKET } from "../core/control-api.ts";
import { ConfigError, errorMessage } from "../core/errors.ts";
import { isJsonObject } from "../core/json.ts";
import { z } from "../core/schema.ts";
import { configErrorAt, quoteLine } from "../sls/located-error.ts";
import { didYouMean } from "../sls/nearest.ts";
import { parseYamlDocument } from "../sls/yaml.ts";

/** Where the master's configuration is read from. */
export const MASTER_CONFIG = "/etc/latchkey/master.yaml";

const absolute = z.string().regex(/^\//u, "write an absolute path");
const port = z.number().int().min(0).max(65_535);
const roots = z.strictObject({ base: z.array(absolute).min(1) });

/** The master's configuration; Salt's names where Salt has one. Every key has a default. */
export const masterConfigSchema = z.strictObject({
  /** Address to listen on. */
  interface: z.union([z.ipv4(), z.ipv6()]).default("0.0.0.0"),
  /** 0 takes any free port. */
  ret_port: port.default(4506),
  /** Of no use any more: jobs go out on the sessions. */
  publish_port: port.optional(),
  file_roots: roots.default({ base: ["/srv/latchkey/states"] }),
  pillar_roots: roots.default({ base: ["/srv/latchkey/pillar"] }),
  /** Accept every new key as it comes: for labs. */
  auto_accept: z.boolean().default(false),
  /** Identity and store. */
  state_dir: absolute.default("/var/lib/latchkey/master"),
  /** The control API. */
  socket: absolute.max(107, "a unix socket has at most 107 bytes").default(CONTROL_SOCKET),
  /** Who may open it, and with it do everything: the user that the master runs as alone, or that user's group too. */
  socket_access: z.enum(["owner", "group"]).default("owner"),
  log_level: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
  /** How long jobs and returns are kept. */
  keep_jobs_hours: z.number().positive().default(24),
  /** How long records of leases are kept. */
  keep_leases_days: z.number().positive().default(400),
  /** How often a minion says that it lives, in seconds. */
  heartbeat: z.number().min(0.1).max(3600).default(15),
  /** Most minion keys that may wait for a decision. */
  max_pending_keys: z.number().int().positive().default(1000),
  /** Who gets which key, and when; without the file a host may have what its own pillar names. */
  release_policy: absolute.default("/etc/latchkey/release.yaml"),
  /** How long an operator's approval of a held lease is good. */
  approval_minutes: z.number().positive().max(10_080).default(60),
  /** How many operators must approve before a volume is erased for good; who asked does not count. */
  erase_approvals: z.number().int().min(1).max(20).default(2),
  /** Program and arguments, run for each new hold; the facts come as JSON on its standard input. */
  hold_command: z.array(z.string().min(1)).min(1).optional(),
  /** Gets the facts of each new hold as a JSON POST. */
  hold_webhook: z.url({ protocol: /^https?$/u }).optional(),
  /** File of certificates (PEM) that are believed for `hold_webhook` besides those that Node brings. */
  hold_webhook_ca: absolute.optional(),
  /** Program and arguments, run for each new problem with a volume; the facts come as JSON on its standard input. */
  problem_command: z.array(z.string().min(1)).min(1).optional(),
  /** Gets the facts of each new problem with a volume as a JSON POST. */
  problem_webhook: z.url({ protocol: /^https?$/u }).optional(),
  /** File of certificates (PEM) that are believed for `problem_webhook` besides those that Node brings. */
  problem_webhook_ca: absolute.optional(),
  /** Whether `latchkey secret show` shows secrets, generated ones too, to who holds the control socket. */
  allow_secret_show: z.boolean().default(false),
  /** Whether `latchkey pillar edit` opens the secrets that a host's own file holds in plain; else as ciphertext. */
  allow_secret_edit: z.boolean().default(true),
  /** age recipients (`age1…`) that can open every secret of the store without the master, for the worst day. */
  recovery_recipients: z.array(z.string().startsWith("age1")).default([]),
});
export type MasterConfig = z.infer<typeof masterConfigSchema>;
export type SocketAccess = MasterConfig["socket_access"];

/**
 * The configuration in a file; all defaults when the file is not there and `path` is the usual one. Throws ConfigError
 * `bad-config` with file, line and, for an unknown key, the nearest known one.
 */
export async function loadMasterConfig(path: string = MASTER_CONFIG): Promise<MasterConfig> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    if (missing && path === MASTER_CONFIG) return masterConfigSchema.parse({});
    const why = missing ? "no such file" : errorMessage(cause);
    throw new ConfigError("bad-config", `cannot read the configuration "${path}": ${why}`, {
      cause,
      facts: { file: path },
    });
  }
  return parseMasterConfig(text, path);
}

/** The configuration in a text; throws as `loadMasterConfig` does. */
export function parseMasterConfig(text: string, file: string): MasterConfig {
  const document = parseYamlDocument(text, file);
  const value = document.value ?? {};
  if (!isJsonObject(value)) throw badConfig("it must be a map of settings", file, 1, text);
  const parsed = masterConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const [key] = issue?.path ?? [];
  if (issue?.code === "unrecognized_keys") {
    const unknown = issue.keys[0] ?? "";
    const where = key === undefined ? value : value[String(key)];
    const known = key === undefined ? Object.keys(masterConfigSchema.shape) : ["base"];
    const line = isJsonObject(where) ? document.lineOf(where, unknown) : 1;
    throw badConfig(`unknown key "${unknown}"${didYouMean(unknown, known)}`, file, line, text);
  }
  const line = key === undefined ? 1 : document.lineOf(value, String(key));
  throw badConfig(`"${(issue?.path ?? []).join(".")}": ${issue?.message ?? "not valid"}`, file, line, text);
}

function badConfig(why: string, file: string, line: number, text: string): ConfigError {
  return configErrorAt("bad-config", `cannot use the configuration: ${why}`, { file, line }, quoteLine(text, line));
}
