import { HostError } from "../../core/errors.ts";
import { z } from "../../core/schema.ts";
import { unsafePathParam } from "../../states/devices/held.ts";
import { defineFunction } from "./function.ts";

const OUTPUT_LOST = "\n[output over 1 MiB dropped]";
const ALL_CODES = Array.from({ length: 256 }, (_, code) => code);

/** `cmd.*`: commands of the operator's own. */
export const cmdFunctions = [
  defineFunction({
    name: "cmd.run",
    summary: "Runs a shell command; returns what it wrote, and fails when its exit code is not 0.",
    kind: "quick",
    positional: ["cmd"],
    params: z.strictObject({
      cmd: z.string().min(1).describe("Command line for /bin/sh."),
      cwd: z.string().startsWith("/").default("/").describe("Directory to run in."),
      allow_unsafe_path: unsafePathParam,
      runas: z.string().optional().describe("User to run as."),
      env: z.record(z.string(), z.string()).default({}).describe("Environment variables to add."),
      timeout: z.number().positive().max(86_400).default(3600).describe("Seconds until it is ended."),
      stdin: z.string().optional().describe("Text for its standard input."),
      ignore_retcode: z.boolean().default(false).describe("Succeed whatever the exit code is."),
    }),
    run: async (params, { host, signal }) => {
      // a command line is what the operator asked for: the shell is the point here
      const result = await host.run(["/bin/sh", "-c", `exec 2>&1\n${params.cmd}`], {
        cwd: params.cwd,
        allowUnsafePath: params.allow_unsafe_path,
        env: params.env,
        timeoutMs: params.timeout * 1000,
        okCodes: ALL_CODES,
        signal,
        ...(params.runas === undefined ? {} : { user: params.runas }),
        ...(params.stdin === undefined ? {} : { stdin: Buffer.from(params.stdin) }),
      });
      const data = `${result.stdout.replace(/\n$/u, "")}${result.truncated ? OUTPUT_LOST : ""}`;
      return { data, retcode: params.ignore_retcode ? 0 : result.exitCode };
    },
  }),
  defineFunction({
    name: "cmd.retcode",
    summary: "Runs a shell command; returns its exit code.",
    kind: "quick",
    positional: ["cmd"],
    params: z.strictObject({
      cmd: z.string().min(1).describe("Command line for /bin/sh."),
      cwd: z.string().startsWith("/").default("/").describe("Directory to run in."),
      allow_unsafe_path: unsafePathParam,
    }),
    run: async ({ cmd, cwd, allow_unsafe_path: allowUnsafePath }, { host, signal }) => {
      try {
        const { exitCode } = await host.run(["/bin/sh", "-c", cmd], {
          cwd,
          allowUnsafePath,
          okCodes: ALL_CODES,
          signal,
        });
        return { data: exitCode, retcode: exitCode };
      } catch (thrown) {
        if (thrown instanceof HostError && thrown.code === "command-timeout") return { data: 124, retcode: 124 };
        throw thrown;
      }
    },
  }),
];
