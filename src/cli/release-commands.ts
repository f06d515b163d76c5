import type { Command } from "commander";
import { ConfigError } from "../core/errors.ts";
import { isLeasePurpose, LEASE_PURPOSES } from "../core/lease-purpose.ts";
import { parseCount, parseDuration } from "./arguments.ts";
import { HELP } from "./help.ts";
import { type OutOption, formatOf, withOut } from "./out-option.ts";
import type { Setup } from "./program.ts";
import { type SignOptions, signerOf, withSigner } from "./sign-options.ts";

/** Adds what decides over releases of keys: lease, operator, policy, reboot. */
export function addReleaseCommands(program: Command, setup: Setup): void {
  addLease(program, setup);
  addOperator(program, setup);
  addPolicy(program, setup);
  addReboot(program, setup);
}

function addLease(program: Command, { context, end }: Setup): void {
  const lease = program
    .command("lease")
    .description("keys that were released, wait for approval, or were taken away")
    .addHelpText("after", HELP.lease);
  withOut(lease.command("list").description("the last leases; with --held those that wait"))
    .option("--held", "those that wait for approval, and what was revoked")
    .option("-n, --limit <count>", "how many, newest first", "20")
    .action(async (options: OutOption & { held?: true; limit: string }) => {
      if (options.held) {
        const { listHolds } = await import("./holds.ts");
        return end(await listHolds(formatOf(options), context()));
      }
      const { listLeases } = await import("./leases.ts");
      end(await listLeases(parseCount(options.limit), formatOf(options), context()));
    });
  withOut(lease.command("show").description("everything about a lease that waits"))
    .argument("<hold>", "its id, or the beginning of it")
    .action(async (hold: string, options: OutOption) => {
      const { showHold } = await import("./holds.ts");
      end(await showHold(hold, formatOf(options), context()));
    });
  withSigner(lease.command("approve").description("let a lease that waits have its key, once"))
    .argument("<hold>", "its id, or the beginning of it")
    .option("-y, --yes", "do not ask")
    .action(async (hold: string, options: SignOptions & { yes?: true }) => {
      const { approveHold } = await import("./holds.ts");
      end(await approveHold(hold, { ...signerOf(options), yes: options.yes ?? false }, context()));
    });
  lease
    .command("deny")
    .description("say no to a lease that waits; the host is denied it until another boot")
    .argument("<hold>", "its id, or the beginning of it")
    .action(async (hold: string) => {
      const { denyHold } = await import("./holds.ts");
      end(await denyHold(hold, context()));
    });
  const changes = [
    ["revoke", "take a secret away from a host, or all of them, and cut its sessions at once"],
    ["allow", "lift what was revoked or denied"],
  ] as const;
  for (const [action, description] of changes) {
    lease
      .command(action)
      .description(description)
      .argument("<minion>", "minion id")
      .argument("[secret]", "pillar path, such as disk:password; every secret when left out")
      .action(async (id: string, path: string | undefined) => {
        const { changeRevocation } = await import("./holds.ts");
        end(await changeRevocation({ action, id, path: path ?? null }, context()));
      });
  }
}

function addOperator(program: Command, { context, end }: Setup): void {
  const operator = program
    .command("operator")
    .description("who may approve leases that wait: add, list, remove, keygen")
    .addHelpText("after", HELP.operator);
  withOut(operator.command("list").description("the operators that the master believes")).action(
    async (options: OutOption) => {
      const { listOperators } = await import("./operators.ts");
      end(await listOperators(formatOf(options), context()));
    },
  );
  operator
    .command("add")
    .description("believe an operator's key")
    .argument("<name>", "lower case letters, digits, dot, dash and underscore")
    .option("--key <file.pub>", "their public key (default ~/.config/latchkey/operator.key.pub)")
    .action(async (name: string, { key }: { key?: string }) => {
      const { addOperator: add } = await import("./operators.ts");
      end(await add(name, key, context()));
    });
  operator
    .command("remove")
    .description("believe an operator no more")
    .argument("<name>", "operator")
    .action(async (name: string) => {
      const { removeOperator } = await import("./operators.ts");
      end(await removeOperator(name, context()));
    });
  operator
    .command("keygen")
    .description("make an operator's key pair, on the operator's own machine")
    .option("--out <file>", "where to (default ~/.config/latchkey/operator.key; the public half in FILE.pub)")
    .option("--passphrase-fd <fd>", "read the new passphrase from this file descriptor")
    .action(async ({ out, passphraseFd }: { out?: string; passphraseFd?: string }) => {
      const { generateOperatorKey } = await import("./operators.ts");
      end(await generateOperatorKey({ out, passphraseFd }, context()));
    });
}

function addPolicy(program: Command, { context, rooms, end }: Setup): void {
  const policy = program
    .command("policy")
    .description("the release policy: who gets which key, and when")
    .addHelpText("after", HELP.policy);
  withOut(policy.command("show").description("the rules in force")).action(async (options: OutOption) => {
    const { showPolicy } = await import("./policy.ts");
    end(await showPolicy(formatOf(options), context()));
  });
  withOut(policy.command("explain").description("what would be said to a host, and why; nothing is released"))
    .argument("<host>", "minion id")
    .argument("<secret>", "pillar path, such as disk:password")
    .option("--purpose <purpose>", LEASE_PURPOSES.join(", "), "open")
    .option("--at <time>", "at this moment: 2026-01-31T12:00:00Z")
    .option("--new-boot", "as if the host had restarted since")
    .option("--from <address>", "as if it came from there")
    .action(async (id: string, path: string, options: OutOption & ExplainFlags) => {
      const { purpose, at, from } = options;
      if (!isLeasePurpose(purpose)) {
        throw new ConfigError("bad-purpose", `cannot explain purpose "${purpose}"`, {
          hint: `it is one of ${LEASE_PURPOSES.join(", ")}`,
        });
      }
      const { explainPolicy } = await import("./policy.ts");
      const asked = { id, path, purpose, at, newBoot: options.newBoot ?? false, address: from } as const;
      end(await explainPolicy(asked, formatOf(options), context()));
    });
  withOut(policy.command("test").description("run the cases beside a policy file; needs no master"))
    .argument("[file]", "policy file; its cases are in the same name with .test.yaml", "/etc/latchkey/release.yaml")
    .option("--cases <file>", "where the cases are")
    .action(async (file: string, options: OutOption & { cases?: string }) => {
      const format = formatOf(options);
      const cases = options.cases ?? file.replace(/(?:\.ya?ml)?$/u, ".test.yaml");
      const results = await rooms.testPolicy(file, cases);
      const { printPolicyTest } = await import("./policy.ts");
      end(printPolicyTest(results, format, context()));
    });
  policy
    .command("forget")
    .description("go back to no policy at all, after its file was removed")
    .action(async () => {
      const { forgetPolicy } = await import("./policy.ts");
      end(await forgetPolicy(context()));
    });
}

interface ExplainFlags {
  readonly purpose: string;
  readonly at?: string;
  readonly newBoot?: true;
  readonly from?: string;
}

interface RebootFlags extends SignOptions {
  readonly list?: true;
  readonly grain?: true;
  readonly window: string;
  readonly reboot: boolean;
  readonly force?: true;
  readonly timeout: string;
}

function addReboot(program: Command, { context, end }: Setup): void {
  withSigner(program.command("reboot").description("announce that hosts restart, and restart them"))
    .argument("<target>", "which minions: a glob, or see -L and -G")
    .option("-L, --list", "the target is a list of ids: web1,web2")
    .option("-G, --grain", "the target is a grain: os_family:Debian")
    .option("--window <time>", "how long they may take to come back", "15m")
    .option("--no-reboot", "only announce it")
    .option("--force", "also hosts with a volume that would not open again; recorded")
    .option("-t, --timeout <time>", "how long a host may stay silent: 30s, 2m", "30s")
    .addHelpText("after", HELP.reboot)
    .action(async (expr: string, options: RebootFlags) => {
      if (options.list && options.grain) throw new ConfigError("bad-target", "cannot use both -L and -G: choose one");
      const kind = options.list ? "list" : options.grain ? "grain" : "glob";
      const { rebootHosts } = await import("./reboot.ts");
      const status = await rebootHosts(
        {
          ...signerOf(options),
          target: { kind, expr },
          windowMs: parseDuration(options.window),
          isOnlyAnnounced: !options.reboot,
          force: options.force ?? false,
          timeoutMs: parseDuration(options.timeout),
        },
        context(),
      );
      end(status);
    });
}
