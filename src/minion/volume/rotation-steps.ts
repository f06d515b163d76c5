import { ConfigError, type ErrorFacts } from "../../core/errors.ts";
import { keyPathOf } from "../../states/volume/spec.ts";
import type { Request, Response } from "../../wire/messages.ts";
import { signRotation } from "../../wire/rotation-signature.ts";
import type { RotationRefusal } from "../../wire/volume-messages.ts";
import { sameSession } from "../lease.ts";
import type { LuksDevice } from "./luks-device.ts";
import type { VolumeContext } from "./runner.ts";

/** How long a step may take that keys in hand wait for. */
const STEP_WAIT_MS = 60_000;

type Step = Request<"volume.rotation">;
/** What the master says of a rotation. */
export type RotationAnswer = Omit<Extract<Response<"volume.rotation">, { readonly verdict: "ok" }>, "verdict">;

/** Tells the master a step and hears where the rotation stands. */
export type TellMaster = (
  event: Step["event"],
  facts?: Partial<Pick<Step, "from" | "to" | "slot" | "keepOld">>,
) => Promise<RotationAnswer>;

function refusal(volume: string, reason: RotationRefusal): ConfigError {
  const say = (why: string, hint?: string) => {
    const facts: ErrorFacts = hint === undefined ? {} : { hint };
    return new ConfigError("cannot-rotate", `cannot rotate the key of volume "${volume}": ${why}`, facts);
  };
  switch (reason) {
    case "not-generated":
      return say(
        "its pillar has the key itself (!secret)",
        "run `latchkey secret import` first: only !generate rotates",
      );
    case "no-key-yet":
      return say("the master has no key of it yet", "the first format makes one");
    case "nothing-open":
      return say("no rotation of it is under way");
    case "superseded":
      return say("another key was imported for it meanwhile", "run it again: it starts from the imported key");
    case "rolled-back":
      return say("it is being rolled back");
    case "not-committed":
      return say("its new key is not committed yet", "run `latchkey volume rotate` again: it goes on where it was");
    case "too-many-versions":
      return say("too many keys were made of it lately", "64 are made at once, then one an hour: try again later");
    case "no-such-version":
      return say("the master does not have the version that opens it");
    default:
      return reason satisfies never;
  }
}

/** The way to the master for the rotation of one volume's key; each step is signed for the session that it goes over. */
export function tellMaster(context: VolumeContext, { path: device, luksUuid }: LuksDevice): TellMaster {
  const { volume, patience } = context;
  const path = keyPathOf(volume);
  if (path === undefined) throw new ConfigError("not-encrypted", `volume "${volume.name}" is not encrypted`);
  const { link, identity } = context.master();
  const waitMs = Math.min(patience.waitMs, STEP_WAIT_MS);
  return async (event, { from = 0, to = 0, slot = -1, keepOld = false } = {}) => {
    const step = { event, volume: volume.name, path, device, luksUuid, from, to, slot, keepOld };
    const answer = await link.persist({ ...patience, waitMs }, async (live) => {
      const { handshakeHash } = live;
      return sameSession(live, handshakeHash, async () =>
        live.request("volume.rotation", signRotation(step, identity, handshakeHash), { signal: context.signal }),
      );
    });
    if (answer.verdict === "refused") throw refusal(volume.name, answer.reason);
    const { verdict: _ok, ...said } = answer;
    return said;
  };
}
