import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The Debian release of a lab host. */
export const RELEASE = "bookworm";

/** What a lab host has installed besides the essential packages. */
export const GUEST_PACKAGES = [
  "systemd-sysv",
  "udev",
  "dbus",
  "lvm2",
  "cryptsetup-bin",
  "e2fsprogs",
  "xfsprogs",
  "btrfs-progs",
  "kmod",
  "iproute2",
  "procps",
  "mariadb-server",
] as const;

/** What no lab host reads. */
export const LEFT_OUT = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"] as const;

/** Units that only cost time in a lab. */
export const MASKED_UNITS = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "console-getty.service",
  "dm-event.socket",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
  "getty.target",
  "lvm2-monitor.service",
  "modprobe@configfs.service",
  "modprobe@drm.service",
  "modprobe@efi_pstore.service",
  "modprobe@fuse.service",
  "modprobe@loop.service",
  "modprobe@dm_mod.service",
  "proc-sys-fs-binfmt_misc.automount",
  "systemd-binfmt.service",
  "systemd-logind.service",
  "systemd-networkd.service",
  "systemd-timesyncd.service",
  "systemd-update-utmp-runlevel.service",
  "systemd-update-utmp.service",
  "systemd-user-sessions.service",
] as const;

/** Units that a lab host starts with; the services of its packages stay off until a state turns them on. */
export const ENABLED_UNITS = ["lab-agent.service"] as const;
export const DISABLED_UNITS = ["mariadb.service"] as const;

export interface GuestFile {
  /** Name in lab/guest. */
  readonly source: string;
  /** Path in the host. */
  readonly target: string;
  readonly mode: number;
}

export const GUEST_FILES: readonly GuestFile[] = [
  { source: "init.sh", target: "/sbin/lab-init", mode: 0o755 },
  { source: "agent.pl", target: "/usr/local/sbin/lab-agent", mode: 0o755 },
  { source: "lab-agent.service", target: "/etc/systemd/system/lab-agent.service", mode: 0o644 },
  { source: "journald.conf", target: "/etc/systemd/journald.conf.d/lab.conf", mode: 0o644 },
  { source: "mariadb.cnf", target: "/etc/mysql/mariadb.conf.d/99-lab.cnf", mode: 0o644 },
  { source: "udev-trigger.conf", target: "/etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", mode: 0o644 },
  { source: "modules.conf", target: "/etc/modules-load.d/lab.conf", mode: 0o644 },
  { source: "fstab", target: "/etc/fstab", mode: 0o644 },
];

/** Directories that a lab host mounts things on, or whose being there means something (a journal that stays). */
export const GUEST_DIRECTORIES = ["/lab", "/opt/latchkey", "/var/log/journal"] as const;

/** Size of a lab host's root disk (sparse). */
export const ROOT_DISK_SIZE = "3G";

export const GUEST_SOURCES = join(import.meta.dirname, "guest");

/** What a root file system made now would be made of, as one short word: another word, another image. */
export function recipeHash(nodeVersion: string, kernelRelease: string): string {
  const hash = createHash("sha256");
  const parts = [RELEASE, GUEST_PACKAGES, LEFT_OUT, MASKED_UNITS, ENABLED_UNITS, DISABLED_UNITS, GUEST_FILES];
  hash.update(JSON.stringify([parts, GUEST_DIRECTORIES, ROOT_DISK_SIZE, nodeVersion, kernelRelease]));
  for (const { source } of GUEST_FILES) hash.update(readFileSync(join(GUEST_SOURCES, source)));
  hash.update(readFileSync(join(import.meta.dirname, "image.ts")));
  return hash.digest("hex").slice(0, 16);
}
