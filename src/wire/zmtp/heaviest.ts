import { networkOf } from "./peer-address.ts";

/** Most bytes that may be held of all peers and for them together: parts of messages, and what they have not read. */
export const MAX_HELD_BYTES = 128 * 1024 * 1024;

interface Holder {
  readonly address: string;
  readonly heldBytes: number;
}

/** Below this a connection is not looked at: what so many sockets hold in passing. */
const LIGHT_BYTES = 4096;

/**
 * Who must leave so that all together hold no more than MAX_HELD_BYTES: of the network that holds most the one that holds
 * most, and so on.
 */
export function heaviest<T extends Holder>(holders: Iterable<T>): readonly T[] {
  const heavy = [...holders].filter(({ heldBytes }) => heldBytes > LIGHT_BYTES);
  let held = heavy.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  if (held <= MAX_HELD_BYTES) return [];
  const networks = new Map<string, { held: number; readonly members: T[] }>();
  for (const holder of heavy.toSorted((a, b) => a.heldBytes - b.heldBytes)) {
    const network = networks.get(networkOf(holder.address)) ?? { held: 0, members: [] };
    networks.set(networkOf(holder.address), network);
    network.held += holder.heldBytes;
    network.members.push(holder);
  }
  const leaving: T[] = [];
  while (held > MAX_HELD_BYTES) {
    const [most] = [...networks.values()].toSorted((a, b) => b.held - a.held);
    const holder = most?.members.pop();
    if (!most || !holder) break;
    most.held -= holder.heldBytes;
    held -= holder.heldBytes;
    leaving.push(holder);
  }
  return leaving;
}
