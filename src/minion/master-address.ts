import { ConfigError } from "../core/errors.ts";
import type { MasterAddress } from "../wire/endpoints.ts";

/** The ports of a master whose address names none. */
export interface DefaultPorts {
  readonly publishPort: number;
  readonly returnPort: number;
}

const HOST_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?$/u;
const IPV6 = /^[0-9A-Fa-f:.]+(?:%[\w.-]+)?$/u;

/**
 * `host`, `host:port`, `[v6]` or `[v6]:port`, or a bare IPv6 address; the port is that of the request channel. Throws
 * ConfigError `bad-master`.
 */
export function parseMasterAddress(text: string, ports: DefaultPorts): MasterAddress {
  const bad = () =>
    new ConfigError("bad-master", `cannot use master "${text}"`, { hint: "write host, host:port or [address]:port" });
  const entry = text.trim();
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/u.exec(entry);
  if (bracketed) {
    if (!IPV6.test(bracketed[1] ?? "")) throw bad();
    return { host: bracketed[1] ?? "", publishPort: ports.publishPort, returnPort: portOf(bracketed[2], ports, bad) };
  }
  if (entry.split(":").length > 2) {
    if (!IPV6.test(entry)) throw bad();
    return { host: entry, ...ports };
  }
  const [host = "", port, ...rest] = entry.split(":");
  if (rest.length > 0 || !HOST_NAME.test(host) || (port !== undefined && !/^\d{1,5}$/u.test(port))) throw bad();
  return { host, publishPort: ports.publishPort, returnPort: portOf(port, ports, bad) };
}

function portOf(text: string | undefined, ports: DefaultPorts, bad: () => ConfigError): number {
  if (text === undefined) return ports.returnPort;
  const port = Number(text);
  if (port < 1 || port > 65_535) throw bad();
  return port;
}
