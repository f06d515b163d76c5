import * as os from "node:os";
import type { Host } from "../core/host.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { VERSION } from "../core/version.ts";

const FAMILIES: Readonly<Record<string, string>> = {
  debian: "Debian",
  ubuntu: "Debian",
  rhel: "RedHat",
  fedora: "RedHat",
  centos: "RedHat",
  suse: "Suse",
  arch: "Arch",
  alpine: "Alpine",
  gentoo: "Gentoo",
};

const OS_NAMES: Readonly<Record<string, string>> = {
  rhel: "RedHat",
  opensuse: "SUSE",
  "opensuse-leap": "SUSE",
  sles: "SUSE",
  almalinux: "AlmaLinux",
  ol: "OEL",
  arch: "Arch",
};

/** The assignments of an os-release(5) file. */
export function parseOsRelease(text: string): Readonly<Record<string, string>> {
  const entries = [...text.matchAll(/^([A-Z_0-9]+)=("(?:[^"\\]|\\.)*"|'[^']*'|\S*)$/gmu)];
  return Object.fromEntries(
    entries.map(([, name = "", value = ""]) => [
      name,
      value.replace(/^(["'])(.*)\1$/u, "$2").replaceAll(/\\(.)/gu, "$1"),
    ]),
  );
}

const own = (names: Readonly<Record<string, string>>, name: string) =>
  Object.hasOwn(names, name) ? names[name] : undefined;

function osGrains(release: Readonly<Record<string, string>>): JsonObject {
  const id = release["ID"] ?? "linux";
  const like = [id, ...(release["ID_LIKE"] ?? "").split(" ")];
  const family = like.map((name) => own(FAMILIES, name)).find((name) => name !== undefined);
  const version = release["VERSION_ID"] ?? "";
  const name = own(OS_NAMES, id) ?? (id === "" ? "" : `${id[0]?.toUpperCase()}${id.slice(1)}`);
  const major = Number.parseInt(version, 10);
  return {
    os: name,
    os_family: family ?? name,
    osrelease: version,
    oscodename: release["VERSION_CODENAME"] ?? "",
    osfullname: release["NAME"] ?? name,
    osfinger: version === "" ? name : `${release["NAME"] ?? name}-${version}`,
    ...(Number.isNaN(major) ? {} : { osmajorrelease: major }),
  };
}

function networkGrains(interfaces: NodeJS.Dict<os.NetworkInterfaceInfo[]>): JsonObject {
  const all = Object.entries(interfaces).map(([name, infos]) => [name, infos ?? []] as const);
  const byInterface = (family: string): JsonObject =>
    Object.fromEntries(
      all.map(([name, infos]) => [name, infos.filter((info) => info.family === family).map(({ address }) => address)]),
    );
  const flat = (family: string): readonly string[] =>
    all.flatMap(([, infos]) => infos.filter((info) => info.family === family).map(({ address }) => address)).sort();
  return {
    ip4_interfaces: byInterface("IPv4"),
    ip6_interfaces: byInterface("IPv6"),
    hwaddr_interfaces: Object.fromEntries(all.map(([name, infos]) => [name, infos[0]?.mac ?? ""])),
    ipv4: flat("IPv4"),
    ipv6: flat("IPv6"),
  };
}

/** The full name from /etc/hosts: no name server is asked, so a boot never waits for one. */
export function findFqdn(hostname: string, hosts: string): string {
  if (hostname.includes(".")) return hostname;
  for (const line of hosts.split("\n")) {
    const [, ...names] = (line.split("#")[0] ?? "").trim().split(/\s+/u);
    const full = names.find((name) => name.startsWith(`${hostname}.`));
    if (full !== undefined && names.includes(hostname)) return full;
  }
  return hostname;
}

const PRODUCTS: readonly (readonly [RegExp, string])[] = [
  [/KVM|QEMU|Standard PC/u, "kvm"],
  [/VMware/u, "VMware"],
  [/VirtualBox/u, "VirtualBox"],
  [/Virtual Machine/u, "HyperV"],
  [/HVM domU/u, "xen"],
];

function virtualOf(cpuinfo: string, product: string): string {
  if (cpuinfo.includes("User Mode Linux")) return "uml";
  const known = PRODUCTS.find(([pattern]) => pattern.test(product));
  if (known) return known[1];
  return /^flags\s*:.*\bhypervisor\b/mu.test(cpuinfo) ? "virtual" : "physical";
}

/** This boot's id, "" where the kernel has none. */
export async function readBootId(host: Host): Promise<string> {
  return readText(host, "/proc/sys/kernel/random/boot_id");
}

async function readText(host: Host, path: string): Promise<string> {
  // some files of /sys exist but are root's alone
  const bytes = await host.readFile(path).catch(() => undefined);
  return bytes?.toString("utf8").trim() ?? "";
}

/** What is known about this machine, under Salt's names. Starts no process and asks no name server. */
export async function collectGrains(host: Host, id: string, fixed: JsonObject): Promise<JsonObject> {
  const [release, hosts, bootId, machineId, uuid, product, maker, cpuinfo, systemd] = await Promise.all([
    readText(host, "/etc/os-release"),
    readText(host, "/etc/hosts"),
    readBootId(host),
    readText(host, "/etc/machine-id"),
    readText(host, "/sys/class/dmi/id/product_uuid"),
    readText(host, "/sys/class/dmi/id/product_name"),
    readText(host, "/sys/class/dmi/id/sys_vendor"),
    readText(host, "/proc/cpuinfo"),
    host.stat("/run/systemd/system"),
  ]);
  const hostname = os.hostname();
  const fqdn = findFqdn(hostname, hosts);
  const grains: Record<string, Json> = {
    id,
    host: hostname.split(".")[0] ?? hostname,
    localhost: hostname,
    nodename: hostname,
    fqdn,
    domain: fqdn.split(".").slice(1).join("."),
    kernel: os.type(),
    kernelrelease: os.release(),
    kernelversion: os.version(),
    cpuarch: os.machine(),
    cpu_model: /^model name\s*:\s*(.+)$/mu.exec(cpuinfo)?.[1] ?? "",
    num_cpus: os.cpus().length,
    mem_total: Math.floor(os.totalmem() / 2 ** 20),
    ...osGrains(parseOsRelease(release)),
    ...networkGrains(os.networkInterfaces()),
    boot_id: bootId,
    machine_id: machineId,
    uuid: uuid.toLowerCase(),
    manufacturer: maker,
    productname: product,
    virtual: virtualOf(cpuinfo, product),
    init: systemd === undefined ? "unknown" : "systemd",
    latchkeyversion: VERSION,
    ...fixed,
  };
  return grains;
}
