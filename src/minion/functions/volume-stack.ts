import { ConfigError } from "../../core/errors.ts";
import type { JsonObject } from "../../core/json.ts";
import { z } from "../../core/schema.ts";
import { outerFirst } from "../../core/volume-nesting.ts";
import { bringUp, type StackChanges } from "../../states/volume/bring-up.ts";
import { destroy } from "../../states/volume/destroy.ts";
import { takeDown } from "../../states/volume/take-down.ts";
import { eachVolume } from "../volume/each.ts";
import { planVolume } from "../volume/plan.ts";
import type { VolumeContext } from "../volume/runner.ts";
import { defineFunction } from "./function.ts";

const names = z.array(z.string()).default([]).describe("Volumes; all that the pillar declares when none is named.");
const force = z.boolean().default(false).describe("Skip the safeguard that a stored key must open it again.");
const killHolders = z.boolean().default(false).describe("End processes that hold the mount: TERM, then KILL.");
const downParams = z.strictObject({ names, force, kill_holders: killHolders });

interface NamesParams {
  readonly names: readonly string[];
}
interface DownParams extends NamesParams {
  readonly force: boolean;
  readonly kill_holders: boolean;
}

const outcome = (changes: StackChanges, done: string, settled: string) => ({
  changes,
  comment: Object.keys(changes).length === 0 ? settled : done,
});

const down = (context: VolumeContext, wanted: DownParams) =>
  takeDown(context, { killHolders: wanted.kill_holders, force: wanted.force });

interface RemoveParams extends DownParams {
  readonly confirm: readonly string[];
}

/** Nothing goes whose name was not said twice. */
function assertConfirmed({ names: wanted, confirm }: RemoveParams): void {
  const missing = wanted.find((name) => !confirm.includes(name));
  if (wanted.length > 0 && missing === undefined) return;
  const what = missing === undefined ? "volumes that are not named" : `volume "${missing}"`;
  throw new ConfigError("not-confirmed", `cannot remove ${what}: its name has to be said a second time`, {
    hint: "use `latchkey volume unprovision <target>/<name>`",
  });
}

/** `volume.plan`, `provision`, `start`, `stop`, `restart`, `unprovision`. */
export const volumeStackFunctions = [
  defineFunction<NamesParams>({
    name: "volume.plan",
    summary: "What provision or start would do with the declared volumes; nothing is changed.",
    kind: "quick",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: async (wanted, { volumes }) => {
      const data: Record<string, JsonObject> = {};
      for (const volume of outerFirst(await volumes.select(wanted.names))) {
        data[volume.name] = await planVolume(await volumes.context(volume));
      }
      return { data, retcode: Object.values(data).every(({ result }) => result === true) ? 0 : 1 };
    },
  }),
  defineFunction<NamesParams>({
    name: "volume.provision",
    summary: "Makes declared volumes on blank devices, and brings them up with what depends on them.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: (wanted, context) =>
      eachVolume(context, {
        names: wanted.names,
        passes: [
          {
            order: "up",
            work: async (volume) =>
              outcome(await bringUp(volume, { mayFormat: true }), "provisioned and up", "up already: nothing was done"),
          },
        ],
      }),
  }),
  defineFunction<NamesParams>({
    name: "volume.start",
    summary: "Brings up provisioned volumes and what depends on them; never makes or formats anything.",
    kind: "states",
    positional: [],
    rest: "names",
    params: z.strictObject({ names }),
    run: (wanted, context) =>
      eachVolume(context, {
        names: wanted.names,
        passes: [
          {
            order: "up",
            work: async (volume) =>
              outcome(await bringUp(volume, { mayFormat: false }), "up", "up already: nothing was done"),
          },
        ],
      }),
  }),
  defineFunction<DownParams>({
    name: "volume.stop",
    summary: "Stops what depends on volumes and takes them down: unmounted, closed, deactivated, detached.",
    kind: "states",
    positional: [],
    rest: "names",
    params: downParams,
    run: (wanted, context) =>
      eachVolume(context, {
        names: wanted.names,
        passes: [
          {
            order: "down",
            work: async (volume) => outcome(await down(volume, wanted), "down", "down already: nothing was done"),
          },
        ],
      }),
  }),
  defineFunction<DownParams>({
    name: "volume.restart",
    summary: "Takes volumes down and brings them up again.",
    kind: "states",
    positional: [],
    rest: "names",
    params: downParams,
    run: (wanted, context) =>
      eachVolume(context, {
        names: wanted.names,
        passes: [
          { order: "down", work: async (volume) => outcome(await down(volume, wanted), "down", "down already") },
          {
            order: "up",
            work: async (volume) => ({
              changes: await bringUp(volume, { mayFormat: false }),
              comment: "restarted",
            }),
          },
        ],
      }),
  }),
  defineFunction<RemoveParams>({
    name: "volume.unprovision",
    summary: "Stops volumes, erases their keyslots, removes them, and has their keys forgotten.",
    kind: "states",
    positional: [],
    rest: "names",
    params: downParams.extend({
      confirm: z.array(z.string()).default([]).describe("The names of the volumes once more."),
    }),
    run: async (wanted, context) => {
      assertConfirmed(wanted);
      return eachVolume(context, {
        names: wanted.names,
        passes: [
          {
            order: "down",
            work: async (volume) => {
              const removed = await destroy(volume, { killHolders: wanted.kill_holders, force: wanted.force });
              return outcome(
                removed,
                "keyslots" in removed ? "removed: its keyslots are erased" : "removed",
                "there was nothing left to remove",
              );
            },
          },
        ],
      });
    },
  }),
];
