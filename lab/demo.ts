import { parseArgs } from "node:util";
import { errorText } from "../src/core/error-text.ts";
import { LatchkeyError } from "../src/core/errors.ts";
import { labDemo } from "./demo-lab.ts";
import { nativeDemo } from "./demo-native.ts";
import { Narration } from "./narration.ts";

/** `npm run demo [-- --native]`: the main job from a blank disk to a reboot after a power cut. Status 0 when all of it held. */
async function main(): Promise<number> {
  const { values } = parseArgs({ options: { native: { type: "boolean", default: false } } });
  const narration = new Narration();
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => ending.abort(signal));
  try {
    await (values.native ? nativeDemo(narration, ending.signal) : labDemo(narration, ending.signal));
    return 0;
  } catch (error) {
    narration.tell(`${narration.paint("red", "the demo stopped:")} ${errorText(error)}`);
    return error instanceof LatchkeyError ? error.exitStatus : 1;
  }
}

process.exitCode = await main();
