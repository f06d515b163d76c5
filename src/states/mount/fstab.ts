import type { Host } from "../../core/host.ts";

const FSTAB = "/etc/fstab";
const FSTAB_MODE = 0o644;

const escape = (text: string): string =>
  text.replaceAll(/[\\ \t\n]/gu, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
const unescape = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/gu, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** One line of /etc/fstab (fstab(5)). */
export interface FstabEntry {
  readonly device: string;
  readonly mountPoint: string;
  readonly fsType: string;
  readonly options: readonly string[];
}

const fieldsOf = (line: string): readonly string[] => (line.trim().startsWith("#") ? [] : line.trim().split(/\s+/u));

/** The line as it is written. */
export function formatFstabLine({ device, mountPoint, fsType, options }: FstabEntry): string {
  return `${[device, mountPoint, fsType, options.join(",")].map(escape).join(" ")} 0 0`;
}

/** The line that mounts something on that place, as it stands; undefined when there is none. */
export function findFstabLine(text: string, mountPoint: string): string | undefined {
  return text.split("\n").find((line) => unescape(fieldsOf(line)[1] ?? "") === mountPoint);
}

/** The file with the entry's line in place of the one for the same mount point, or added; all else stays. */
export function setFstabLine(text: string, entry: FstabEntry): string {
  const line = formatFstabLine(entry);
  const present = findFstabLine(text, entry.mountPoint);
  if (present !== undefined) {
    return text
      .split("\n")
      .map((other) => (other === present ? line : other))
      .join("\n");
  }
  return `${text === "" || text.endsWith("\n") ? text : `${text}\n`}${line}\n`;
}

/** The file without the lines of that mount point; all else stays. */
export function removeFstabLine(text: string, mountPoint: string): string {
  return text
    .split("\n")
    .filter((line) => unescape(fieldsOf(line)[1] ?? "") !== mountPoint)
    .join("\n");
}

/** /etc/fstab as it stands; "" when there is none. */
export async function readFstab(host: Host): Promise<string> {
  return (await host.readFile(FSTAB))?.toString("utf8") ?? "";
}

/** Replaces /etc/fstab whole. */
export async function writeFstab(host: Host, text: string): Promise<void> {
  await host.writeFile(FSTAB, Buffer.from(text, "utf8"), { mode: FSTAB_MODE });
}
