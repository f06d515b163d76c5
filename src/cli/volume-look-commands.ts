import type { Command } from "commander";
import { parseCount, parseDuration } from "./arguments.ts";
import { pushVolumeJob, volumeJob, type VolumeJobOptions, withVolumeTarget } from "./volume-job.ts";
import type { Setup } from "./program.ts";

const STATUS_HELP = `
Examples:
  latchkey volume status 'web*'               a tree a host: layers, devices, sizes, state, use, key, dependents
  latchkey volume status web1/data --watch    drawn again every two seconds
  latchkey volume status '*' --json

A host that is offline is shown as it last reported, with the age of that.
`;
const HEADER_HELP = `
A LUKS header goes into escrow at the master after every change of keyslots, encrypted like secrets.

  latchkey volume header list 'web*'
  latchkey volume header restore web1/data --dry-run     what would differ, and what speaks against it
  latchkey volume header restore web1/data --version 3
  latchkey volume header accept web1/data                the header was changed on purpose: take it as it is

No key is leased for a header that says of its encryption what the one on record does not. If nobody of yours changed it, do not
accept it: restore.

It is restored to its own disk only: LUKS UUID, serial, physical volumes and volume key are compared first, the header that
is there goes into escrow, and afterwards the stored key is proven to open it.
`;

type LookOptions = VolumeJobOptions & { readonly json?: true };
const outOf = ({ json, out }: LookOptions) => (json ? "json" : out);

/** Adds what looks at volumes, checks them, and handles headers in escrow. */
export function addLookCommands(volume: Command, setup: Setup): void {
  const { context, end } = setup;
  withVolumeTarget(volume.command("status").description("every layer of volumes, and what is wrong with them"))
    .option("--json", "the same as --out json")
    .option("--watch [time]", "draw it again and again, every two seconds or so often")
    .addHelpText("after", STATUS_HELP)
    .action(async (target: string, options: LookOptions & { readonly watch?: string | true }) => {
      const { showVolumes, watchVolumes } = await import("./volume-status.ts");
      const request = volumeJob(target, "volume.status", {}, options);
      if (options.watch === undefined) return end(await showVolumes(request, outOf(options), context()));
      const everyMs = options.watch === true ? 2000 : parseDuration(options.watch);
      return end(await watchVolumes(request, outOf(options), everyMs, context()));
    });
  withVolumeTarget(volume.command("devs").description("the devices below, at the bottom of, and shown by each layer"))
    .option("--json", "the same as --out json")
    .action(async (target: string, options: LookOptions) => {
      const { showDevices } = await import("./volume-devs.ts");
      end(await showDevices(volumeJob(target, "volume.devs", {}, options), outOf(options), context()));
    });
  withVolumeTarget(
    volume.command("check").description("test stored keys against headers now, and tell what drifted"),
  ).action(async (target: string, options: LookOptions) => {
    end(await pushVolumeJob(volumeJob(target, "volume.check", {}, options), options, context()));
  });
  addHeaderCommands(volume, setup);
}

function addHeaderCommands(volume: Command, { context, end }: Setup): void {
  const header = volume.command("header").description("LUKS headers in escrow").addHelpText("after", HEADER_HELP);
  header
    .command("list")
    .description("what is in escrow, newest first")
    .argument("<target>", "minions, or minions/volume[,volume]: 'web*', web1/data")
    .option("--out <format>", "text, json, jsonl or yaml", "text")
    .option("--json", "the same as --out json")
    .action(async (target: string, options: { readonly out: string; readonly json?: true }) => {
      const { listHeaders } = await import("./volume-header-list.ts");
      end(await listHeaders(target, options.json ? "json" : options.out, context()));
    });
  header
    .command("accept")
    .description("take the next header of a volume that is opened as it is, where somebody changed it on purpose")
    .argument("<minion/volume>", "one volume of one minion: web1/data")
    .action(async (target: string) => {
      const { acceptHeader } = await import("./volume-header-accept.ts");
      end(await acceptHeader(target, context()));
    });
  withVolumeTarget(header.command("restore").description("put a header back on its device"))
    .option("--version <number>", "which one; the newest that a stored key opens when not given")
    .option("--dry-run", "only tell what would be done")
    .action(async (target: string, options: LookOptions & { readonly version?: string; readonly dryRun?: true }) => {
      const version = options.version === undefined ? {} : { version: parseCount(options.version) };
      const kwargs = { ...version, ...(options.dryRun ? { dry_run: true } : {}) };
      end(await pushVolumeJob(volumeJob(target, "volume.header_restore", kwargs, options), options, context()));
    });
}
