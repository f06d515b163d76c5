/** An address as the kernel says it, without a zone, and an IPv4 one in IPv6 clothes as the IPv4 one it is. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/iu, "").replace(/%.*$/u, "");
}

const NETWORK_GROUPS = 4;
const ADDRESS_GROUPS = 8;

/** Whom one may take for one and the same: an IPv4 address, an IPv6 network of 64 bits (who has one address of it can have all). */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  if (tail !== undefined) while (groups.length + after.length < ADDRESS_GROUPS) groups.push("0");
  return `${[...groups, ...after].slice(0, NETWORK_GROUPS).join(":")}::/64`;
}
