import type { Explained, ExplainRequest, PolicyStatus, PolicyTestResult } from "../core/release-api.ts";
import { ConfigError } from "../core/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { Context } from "./context.ts";
import type { Colour } from "./format/paint.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { tableText, timeText } from "./format/table.ts";
import { documentText, type OutputFormat } from "./output.ts";

const COLOURS: Readonly<Record<string, Colour>> = { allow: "green", hold: "yellow", deny: "red" };
const asJson = (value: object): Json => JSON.parse(JSON.stringify(value)) as Json;

/** How many must approve, and who may: `2 of ann, bob, cid`. */
function approvalsText({ count, of }: JsonObject): string {
  const names = Array.isArray(of) ? of.filter((name) => typeof name === "string") : [];
  return `${typeof count === "number" ? count : "?"}${names.length > 0 ? ` of ${names.join(", ")}` : ""}`;
}

function termText(value: Json | undefined): string {
  if (!isJsonObject(value)) return "";
  return Object.entries(value)
    .map(([name, term]) => {
      if (term === true) return name;
      if (name === "liveness" && typeof term === "number") return `${name} ${term / 1000} s`;
      if (name === "approvals" && isJsonObject(term)) return `${name} ${approvalsText(term)}`;
      if (Array.isArray(term))
        return `${name} ${term.map((item) => (typeof item === "string" ? item : JSON.stringify(item))).join(",")}`;
      return `${name} ${typeof term === "string" ? term : JSON.stringify(term)}`;
    })
    .join("; ");
}

/** `policy show`: what is in force. Status 1 while nothing can be released. */
export async function showPolicy(format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const status = await client.request<PolicyStatus>("GET", "/v1/policy");
  const { kind, path, hash, problem, rules, nodegroups } = status;
  if (format !== "text") terminal.print(documentText(asJson(status), format, paint));
  else if (kind === "none") terminal.print(`no release policy (${path}): a host may have what its own pillar names\n`);
  else if (kind === "broken") {
    terminal.print(`${paint("red", "nothing is released:")} ${sanitiseLine(problem)}\n`);
  } else {
    terminal.print(`${path}\nsha256 ${hash}\n\n`);
    const rows = rules.map(({ name, verdict, match, require }, index) => {
      const colour = COLOURS[verdict];
      return [
        { text: String(index + 1) },
        { text: name },
        colour === undefined ? { text: verdict } : { text: verdict, colour },
        { text: termText(match) || "everything" },
        { text: termText(require) || "-" },
      ];
    });
    terminal.print(tableText(["#", "RULE", "VERDICT", "MATCHES", "REQUIRES"], rows, paint));
    terminal.print("what no rule matches is denied\n");
    for (const [group, globs] of Object.entries(nodegroups)) {
      terminal.print(`nodegroup ${sanitiseLine(group)}: ${globs.map(sanitiseLine).join(", ")}\n`);
    }
  }
  return kind === "broken" ? 1 : 0;
}

/** What `policy explain` was told. */
export interface ExplainOptions extends Omit<ExplainRequest, "at"> {
  /** ISO 8601. */
  readonly at: string | undefined;
}

/** `policy explain <host> <secret>`: what would be said, and why, rule by rule. */
export async function explainPolicy(options: ExplainOptions, format: OutputFormat, context: Context): Promise<number> {
  const { client, terminal, paint } = context;
  const { at, ...rest } = options;
  const moment = at === undefined ? undefined : Date.parse(at);
  if (Number.isNaN(moment)) {
    throw new ConfigError("bad-time", `cannot read the time "${at}"`, { hint: "write it as 2026-01-31T12:00:00Z" });
  }
  const body: ExplainRequest = { ...rest, ...(moment === undefined ? {} : { at: moment }) };
  const said = await client.request<Explained>("POST", "/v1/policy/explain", body);
  if (format !== "text") {
    terminal.print(documentText(asJson(said), format, paint));
    return 0;
  }
  const { verdict, rule, reasons, passedOver, facts, claims, approvalsNeeded } = said;
  const id = sanitiseLine(options.id);
  const line = (text: string) => terminal.print(`${text}\n`);
  line(
    `${id} asks to ${options.purpose} with "${sanitiseLine(options.path)}": ${paint(COLOURS[verdict] ?? "bold", verdict)}`,
  );
  for (const entry of passedOver)
    line(`  rule "${sanitiseLine(entry.rule)}" does not match: ${sanitiseLine(entry.reason.text)}`);
  if (rule !== null) line(`  rule "${sanitiseLine(rule)}" decides`);
  for (const { code, text } of reasons) line(`    ${sanitiseLine(text)} [${code}]`);
  if (approvalsNeeded?.of) line(`    approvals count of ${approvalsNeeded.of.map(sanitiseLine).join(", ")}`);
  line("facts:");
  for (const [name, value] of Object.entries(facts)) {
    const text = name === "now" && typeof value === "number" ? timeText(value) : JSON.stringify(value);
    line(`  ${name}: ${sanitiseLine(text ?? "")}${claims.includes(name) ? " (the host's own word)" : ""}`);
  }
  return 0;
}

/** `policy test [file]`: the cases beside a release policy, run without a master. Status 1 when one fails. */
export function printPolicyTest(
  results: readonly PolicyTestResult[],
  format: OutputFormat,
  { terminal, paint }: Pick<Context, "paint" | "terminal">,
): number {
  const failed = results.filter(({ passed }) => !passed);
  if (format !== "text") terminal.print(documentText({ cases: results.map((one) => ({ ...one })) }, format, paint));
  else {
    const rows = results.map(({ name, passed, got, rule, difference }) => [
      passed ? ({ text: "ok", colour: "green" } as const) : ({ text: "FAILED", colour: "red" } as const),
      { text: name },
      { text: got },
      { text: rule || "-" },
      { text: difference },
    ]);
    terminal.print(tableText(["", "CASE", "VERDICT", "RULE", "DIFFERENCE"], rows, paint));
    terminal.print(`${results.length - failed.length} of ${results.length} cases as they should be\n`);
  }
  return failed.length === 0 ? 0 : 1;
}

/** `policy forget`: no release policy any more, once its file is gone. */
export async function forgetPolicy(context: Context): Promise<number> {
  const { forgotten } = await context.client.request<{ readonly forgotten: boolean }>("POST", "/v1/policy/forget");
  if (!forgotten) {
    throw new ConfigError("policy-there", "cannot forget the release policy: its file is still there", {
      hint: "remove the file first; then a host may have what its own pillar names",
    });
  }
  context.terminal.print("no release policy any more: a host may have what its own pillar names\n");
  return 0;
}
