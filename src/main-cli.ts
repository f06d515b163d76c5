import { flushCompileCache } from "node:module";
import { join } from "node:path";
import type { HostReturn } from "./cli/output.ts";
import type { CallRequest, CallWatch, IdentityRequest, MasterRequest } from "./cli/rooms.ts";
import { runProgram } from "./cli/program.ts";
import { processTerminal } from "./cli/terminal.ts";
import type { PolicyTestResult } from "./core/release-api.ts";
import { VERSION } from "./core/version.ts";

async function runMaster(
  { config: configPath, passphrase, socketAccess }: MasterRequest,
  signal: AbortSignal,
): Promise<number> {
  const { startMaster } = await import("./master/daemon.ts");
  const { fingerprint, ports, stopped } = await startMaster({ configPath, signal, passphrase, socketAccess });
  console.log(`master fingerprint ${fingerprint}, listening on port ${ports.return}`);
  // Node itself keeps what it compiled at an orderly end only
  flushCompileCache();
  await stopped;
  return 0;
}

async function changeIdentity({ act, config: configPath, passphrase }: IdentityRequest) {
  const [{ loadMasterConfig }, files] = await Promise.all([
    import("./master/config.ts"),
    import("./master/age-identity-file.ts"),
  ]);
  const file = join((await loadMasterConfig(configPath)).state_dir, files.AGE_IDENTITY_FILE);
  if (act === "unprotect") return { file, recipient: await files.unprotectAgeIdentity(file, passphrase) };
  using word = await passphrase();
  return { file, recipient: await files.protectAgeIdentity(file, word) };
}

async function runCallHere(request: CallRequest, signal: AbortSignal, watch: CallWatch): Promise<HostReturn> {
  const { fun, args, kwargs, config: configPath, id, local, fileRoots, pillarRoots } = request;
  const { runCall } = await import("./minion/call.ts");
  const result = await runCall({
    fun,
    args,
    kwargs,
    configPath,
    id,
    local,
    fileRoots,
    pillarRoots,
    signal,
    watch,
    compileLocalPillar: async (roots, subject) => {
      const [{ compilePillar }, { pillarFilesBelow }] = await Promise.all([
        import("./pillar/compile.ts"),
        import("./pillar/tree.ts"),
      ]);
      return (await compilePillar(pillarFilesBelow(roots), subject.id, subject.grains)).pillar;
    },
  });
  return { id: result.id, fun, success: result.retcode === 0, data: result.return };
}

async function testPolicy(policyFile: string, casesFile: string): Promise<readonly PolicyTestResult[]> {
  const { testPolicyFile } = await import("./master/policy/test-policy.ts");
  return testPolicyFile(policyFile, casesFile);
}

/** Runs one command line, without node and script; resolves with the exit status. */
export async function runCli(args: readonly string[], signal: AbortSignal): Promise<number> {
  return runProgram(args, {
    version: VERSION,
    terminal: processTerminal(),
    signal,
    rooms: {
      master: runMaster,
      identity: changeIdentity,
      minion: async (configPath, ending) => {
        const { startMinion } = await import("./minion/agent.ts");
        await startMinion({ configPath, signal: ending });
        return 0;
      },
      call: runCallHere,
      testPolicy,
      verifyAuditStore: async (stateDir) => (await import("./master/audit/verify-store.ts")).verifyStore(stateDir),
    },
  });
}
