import { BlockList, isIP } from "node:net";
import { z } from "../../core/schema.ts";
import type { Truth } from "./truth.ts";

function splitCidr(
  text: string,
): { readonly address: string; readonly bits: number; readonly family: "ipv4" | "ipv6" } | undefined {
  const [address = "", prefix, ...rest] = text.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return undefined;
  const most = version === 4 ? 32 : 128;
  if (prefix !== undefined && !/^\d{1,3}$/u.test(prefix)) return undefined;
  const bits = prefix === undefined ? most : Number(prefix);
  return bits <= most ? { address, bits, family: version === 4 ? "ipv4" : "ipv6" } : undefined;
}

/** A network as `10.1.0.0/16`, `2001:db8::/32`, or one address. */
export const cidrSchema = z
  .string()
  .refine((text) => splitCidr(text) !== undefined, "write a network as 10.1.0.0/16 or 2001:db8::/32");

/**
 * An address as rules compare it: without its zone, and one of IPv4 that a socket for IPv6 shows (`::ffff:a.b.c.d`, however
 * it is written) as IPv4. undefined for what is no address, "" among it.
 */
export function plainAddress(address: string): string | undefined {
  const [bare = ""] = address.split("%", 1);
  const version = isIP(bare);
  if (version !== 6) return version === 4 ? bare : undefined;
  // the one spelling of RFC 5952
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/u.exec(new URL(`http://[${bare}]`).hostname);
  if (!mapped) return bare;
  const [high, low] = [mapped[1], mapped[2]].map((half) => Number.parseInt(half ?? "0", 16));
  return [high, low].flatMap((half = 0) => [half >> 8, half & 0xff]).join(".");
}

/** Whether an address lies in one of the networks; unknown for what is no address. */
export function isInNetworks(networks: readonly string[], address: string): Truth {
  const plain = plainAddress(address);
  if (plain === undefined) return "unknown";
  const list = lists.get(networks) ?? blockList(networks);
  return list.check(plain, isIP(plain) === 4 ? "ipv4" : "ipv6") ? "yes" : "no";
}

/** Bits before the IPv4 address in `::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2. */
const MAPPED_BITS = 96;

// one for each rule of the policy in force
const lists = new WeakMap<readonly string[], BlockList>();

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const parts = splitCidr(network);
    if (!parts) continue;
    const { address, bits, family } = parts;
    const plain = plainAddress(address) ?? address;
    if (family === "ipv6" && isIP(plain) === 4 && bits >= MAPPED_BITS) {
      list.addSubnet(plain, bits - MAPPED_BITS, "ipv4");
    } else list.addSubnet(address, bits, family);
  }
  lists.set(networks, list);
  return list;
}
