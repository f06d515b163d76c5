import { readFileSync } from "node:fs";
import { command } from "./command.ts";
import { isOrphan, ownedName } from "./scratch.ts";

const PREFIX = "lklab-";

/** The master's address in a lab; hosts follow from .10 on. */
export const MASTER_ADDRESS = "10.77.0.1";

/** States of a bridge's port, by number: bridge(8). */
const PORT_DISABLED = 0;
const PORT_FORWARDING = 3;

/**
 * A network of its own: a namespace with a bridge in it, the master's address on the bridge, a tap a host. Two labs at
 * once never meet, since nothing but the namespace's name is shared between them.
 */
export class LabNetwork {
  readonly #name: string;
  #taps = 0;

  private constructor(name: string) {
    this.#name = name;
  }

  /** Makes the network; networks of dead runs go first, with the processes that still live in them. */
  static async create(): Promise<LabNetwork> {
    await sweep();
    const network = new LabNetwork(ownedName(PREFIX));
    await command(["ip", "netns", "add", network.#name]);
    await network.#ip(
      "link set lo up",
      "link add br0 type bridge forward_delay 0",
      `address add ${MASTER_ADDRESS}/24 dev br0`,
      "link set br0 up",
    );
    return network;
  }

  /** What to put before a program's argv for it to run in this network. */
  get prefix(): readonly [string, ...string[]] {
    return ["ip", "netns", "exec", this.#name];
  }

  /** A new port of the bridge: the name of its tap, and the address of the host behind it. */
  async addPort(): Promise<{ readonly tap: string; readonly address: string }> {
    this.#taps += 1;
    const tap = `tap${this.#taps}`;
    await this.#ip(`tuntap add dev ${tap} mode tap`, `link set ${tap} master br0`, `link set ${tap} up`);
    return { tap, address: `10.77.0.${9 + this.#taps}` };
  }

  /**
   * Pulls a host's cable at the bridge's end, for both directions: the tap itself stays up, since the lab's kernel does not
   * find its way back to one that was down. It stays a port of the bridge too: one that is none hands what the host says to
   * the master's own addresses, which the kernel answers for on every interface.
   */
  async disconnect(tap: string): Promise<void> {
    await this.#setPort(tap, PORT_DISABLED);
  }

  /** Plugs a host's cable in again. */
  async reconnect(tap: string): Promise<void> {
    await this.#setPort(tap, PORT_FORWARDING);
  }

  /** Delays what goes to a host, with jitter and loss (percent). */
  async impair(tap: string, delayMs: number, jitterMs = 0, lossPercent = 0): Promise<void> {
    const netem = ["netem", "delay", `${delayMs}ms`, `${jitterMs}ms`, "loss", `${lossPercent}%`];
    await command([...this.prefix, "tc", "qdisc", "replace", "dev", tap, "root", ...netem]);
  }

  /** Ends what still runs in the network, and removes it. */
  async destroy(): Promise<void> {
    await remove(this.#name);
  }

  async #setPort(tap: string, state: number): Promise<void> {
    await command([...this.prefix, "bridge", "link", "set", "dev", tap, "state", String(state)]);
  }

  async #ip(...lines: readonly string[]): Promise<void> {
    await command(["ip", "-n", this.#name, "-batch", "-"], { input: `${lines.join("\n")}\n` });
  }
}

async function sweep(): Promise<void> {
  const { stdout } = await command(["ip", "netns", "list"]);
  for (const line of stdout.split("\n")) {
    const name = line.split(" ")[0] ?? "";
    if (isOrphan(PREFIX, name)) await remove(name);
  }
}

async function remove(name: string): Promise<void> {
  const { stdout } = await command(["ip", "netns", "pids", name], { okCodes: [0, 1, 255] });
  for (const pid of stdout.split("\n").filter(Boolean)) endProcess(Number(pid));
  await command(["ip", "netns", "delete", name], { okCodes: [0, 1, 255] });
}

function endProcess(pid: number): void {
  try {
    if (readFileSync(`/proc/${pid}/stat`, "utf8").length > 0) process.kill(pid, "SIGKILL");
  } catch {
    // it ended by itself in between
  }
}
