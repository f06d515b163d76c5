import { randomUUID } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { HostError } from "../../core/errors.ts";
import type { CheckContext } from "../state.ts";

const CHECK_TIMEOUT_MS = 600_000;
const EVERY_CODE = Array.from({ length: 256 }, (_, code) => code);

/**
 * Lets the commands look at content before it takes the place of `path`: it is written beside it, for root alone, and its path
 * stands behind each command, which a shell runs as Salt has it (`check_cmd: visudo -c -f`). Throws HostError `check-failed`
 * when one fails, with what it said unless no content is to be shown, which it may quote; then nothing was replaced.
 */
export async function assertChecked(
  { host, signal }: CheckContext,
  path: string,
  content: Buffer,
  {
    check_cmd: checks,
    show_changes: isShown,
  }: { readonly check_cmd?: string | readonly string[] | undefined; readonly show_changes: boolean },
): Promise<void> {
  const commands = checks === undefined ? [] : typeof checks === "string" ? [checks] : checks;
  if (commands.length === 0) return;
  // a dot in the name: directories such as /etc/sudoers.d skip it, should it stay behind
  const draft = join(dirname(path), `.${basename(path)}.${randomUUID({ disableEntropyCache: true })}.check`);
  await host.writeFile(draft, content, { mode: 0o600 });
  try {
    for (const command of commands) {
      // the path as the shell's own argument: nothing in it is read by the shell
      const argv = ["/bin/sh", "-c", `${command} "$1"`, "sh", draft] as const;
      const options = { okCodes: EVERY_CODE, timeoutMs: CHECK_TIMEOUT_MS, signal };
      const { exitCode, stdout, stderr } = await host.run([...argv], options);
      if (exitCode === 0) continue;
      const said = !isShown
        ? ""
        : (stderr.trim() || stdout.trim()).replaceAll(draft, path).split("\n").slice(-5).join("\n");
      throw new HostError("check-failed", `cannot write "${path}": check_cmd failed with exit code ${exitCode}`, {
        facts: { path, exitCode },
        ...(said === "" ? {} : { hint: said }),
      });
    }
  } finally {
    await host.remove(draft);
  }
}
