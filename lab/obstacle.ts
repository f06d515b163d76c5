import { existsSync } from "node:fs";
import { errorText } from "../src/core/error-text.ts";
import { errorMessage } from "../src/core/errors.ts";
import { command } from "./command.ts";
import { ensurePackages, LAB_PACKAGES } from "./packages.ts";
import { ownedName } from "./scratch.ts";

/** Why no lab can be made on this machine, in words for its user; undefined when one can. Installs what is missing. */
export async function labObstacle(say: (line: string) => void): Promise<string | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `the lab's kernel runs on linux x64, this is ${process.platform} ${process.arch}`;
  }
  const obstacles = process.getuid?.() === 0 ? [] : ["a lab needs root (network namespaces, taps): run this as root"];
  try {
    await ensurePackages(LAB_PACKAGES, say);
  } catch (error) {
    obstacles.push(errorText(error));
  }
  if (obstacles.length > 0) return obstacles.join("\n");
  if (!existsSync("/dev/net/tun")) return "there is no /dev/net/tun, so no network for hosts";
  const probe = ownedName("lklab-");
  try {
    await command(["ip", "netns", "add", probe]);
    await command(["ip", "-n", probe, "link", "add", "br0", "type", "bridge"]);
  } catch (error) {
    return `this machine allows no network namespace with a bridge: ${errorMessage(error)}`;
  } finally {
    await command(["ip", "netns", "delete", probe], { okCodes: [0, 1, 255] });
  }
  return undefined;
}
