import { ConfigError } from "../core/errors.ts";
import type { MasterAddress } from "../wire/endpoints.ts";

const HOST_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?$/u;
const IPV6 = /^[0-9A-Fa-f:.]+(?:%[\w.-]+)?$/u;

/**
 * `host`, `host:port`, `[v6]` or `[v6]:port`, or a bare IPv6 address; `defaultPort` where none is named. Throws
 * ConfigError `bad-master`.
 */
export function parseMasterAddress(text: string, defaultPort: number): MasterAddress {
  const bad = () =>
    new ConfigError("bad-master", `cannot use master "${text}"`, { hint: "write host, host:port or [address]:port" });
  const entry = text.trim();
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/u.exec(entry);
  if (bracketed) {
    if (!IPV6.test(bracketed[1] ?? "")) throw bad();
    return { host: bracketed[1] ?? "", returnPort: portOf(bracketed[2], defaultPort, bad) };
  }
  if (entry.split(":").length > 2) {
    if (!IPV6.test(entry)) throw bad();
    return { host: entry, returnPort: defaultPort };
  }
  const [host = "", port, ...rest] = entry.split(":");
  if (rest.length > 0 || !HOST_NAME.test(host) || (port !== undefined && !/^\d{1,5}$/u.test(port))) throw bad();
  return { host, returnPort: portOf(port, defaultPort, bad) };
}

function portOf(text: string | undefined, defaultPort: number, bad: () => ConfigError): number {
  if (text === undefined) return defaultPort;
  const port = Number(text);
  if (port < 1 || port > 65_535) throw bad();
  return port;
}
