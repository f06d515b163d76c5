import { ConfigError } from "../../core/errors.ts";
import type { Host } from "../../core/host.ts";

async function lookUp(host: Host, kind: "passwd" | "group", name: string): Promise<number> {
  if (/^\d+$/u.test(name)) return Number(name);
  const file = (await host.readFile(`/etc/${kind}`))?.toString("utf8") ?? "";
  const inFile = file.split("\n").find((line) => line.startsWith(`${name}:`));
  // users of a directory service are known to getent(1) alone; 2: no such name
  const line = inFile ?? (await host.run(["getent", "--", kind, name], { okCodes: [0, 2] })).stdout;
  const id = line.split(":")[2];
  if (id === undefined) {
    const what = kind === "passwd" ? "user" : "group";
    throw new ConfigError(`no-such-${what}`, `cannot find ${what} "${name}" on this machine`);
  }
  return Number(id);
}

/** A user's number, by name or number. Throws ConfigError `no-such-user`. */
export const findUserId = (host: Host, name: string): Promise<number> => lookUp(host, "passwd", name);

/** A group's number, by name or number. Throws ConfigError `no-such-group`. */
export const findGroupId = (host: Host, name: string): Promise<number> => lookUp(host, "group", name);
