import { z } from "../../core/schema.ts";
import { unsafePathParam } from "../devices/held.ts";

const environment = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

/** Parameters that `cmd.run` and `cmd.wait` share, with Salt's names. */
export const commandParams = z.strictObject({
  name: z.string().min(1).describe("The command, run by a shell."),
  cwd: z.string().startsWith("/").optional().describe("Directory to run in."),
  allow_unsafe_path: unsafePathParam,
  runas: z.string().min(1).optional().describe("User to run as."),
  shell: z.string().startsWith("/").default("/bin/sh").describe("The shell that runs the command."),
  env: z
    .union([environment, z.array(environment)])
    .default({})
    .describe("Environment variables: a map, or a list of maps."),
  stateful: z
    .union([z.boolean(), z.array(z.strictObject({ test_name: z.string() })).max(1)])
    .default(false)
    .describe("The last line of output says what changed; with test_name, that command runs in test mode."),
  hide_output: z.boolean().default(false).describe("Leave output out of the return."),
  timeout: z.number().positive().optional().describe("Seconds after which the command is ended and has failed."),
  ignore_timeout: z.boolean().default(false).describe("Ignored: every command has a deadline."),
  success_retcodes: z
    .union([z.number().int(), z.array(z.number().int())])
    .default([])
    .describe("Exit codes besides 0 that count as success."),
  output_loglevel: z.string().optional().describe("Accepted for Salt's sake: commands are never logged."),
  python_shell: z.boolean().optional().describe("Accepted for Salt's sake: a shell always runs the command."),
  use_vt: z.boolean().optional().describe("Accepted for Salt's sake: there is no terminal."),
});

/** Parameters as the command runner gets them. */
export type CommandParams = ReturnType<typeof commandParams.parse>;
