import { BlockList, isIP } from "node:net";
import { z } from "../../core/schema.ts";

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

/** Whether an address lies in one of the networks. An address that is none ("" when unknown) lies in no network. */
export function isInNetworks(networks: readonly string[], address: string): boolean {
  // the way an IPv4 peer looks to a socket that listens on IPv6
  const plain = address.replace(/^::ffff:(?=\d+\.)/iu, "");
  const version = isIP(plain);
  if (version === 0) return false;
  const list = lists.get(networks) ?? blockList(networks);
  return list.check(plain, version === 4 ? "ipv4" : "ipv6");
}

// one for each rule of the policy in force
const lists = new WeakMap<readonly string[], BlockList>();

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const parts = splitCidr(network);
    if (parts) list.addSubnet(parts.address, parts.bits, parts.family);
  }
  lists.set(networks, list);
  return list;
}
