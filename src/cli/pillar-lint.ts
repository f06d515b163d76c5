import type { LintReport } from "../core/secrets-api.ts";
import type { Context } from "./context.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { documentText, type OutputFormat } from "./output.ts";

/** `pillar lint`: a line a finding. Status 1 when there is one. */
export async function lintPillar(format: OutputFormat, { client, terminal, paint }: Context): Promise<number> {
  const { findings } = await client.request<LintReport>("GET", "/v1/lint");
  if (format !== "text") {
    terminal.print(documentText({ findings: findings.map((finding) => ({ ...finding })) }, format, paint));
  } else if (findings.length === 0) terminal.print("nothing found\n");
  else {
    for (const { kind, id, file, line, message } of findings) {
      const place = file === "" ? "" : line === 0 ? file : `${file}:${line}`;
      const subject = [id, place].filter((part) => part !== "").join(" ") || "master";
      terminal.print(`${paint("yellow", kind)}  ${sanitiseLine(subject)}: ${sanitiseLine(message)}\n`);
    }
  }
  return findings.length > 0 ? 1 : 0;
}
