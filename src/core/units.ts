import { ConfigError } from "./errors.ts";

const FACTORS: Readonly<Record<string, number>> = {
  b: 1,
  s: 512,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
};

/**
 * A size in bytes from a number (bytes) or text such as `512`, `10M`, `1.5GiB`, `20g` (powers of 1024, as LVM reads
 * them; `s` is a 512-byte sector). Throws ConfigError `bad-size`.
 */
export function parseSize(text: number | string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([bskmgtp]?)(?:i?b)?$/iu.exec(String(text).trim());
  const factor = FACTORS[match?.[2]?.toLowerCase() || "b"];
  const bytes = match && factor !== undefined ? Math.round(Number(match[1]) * factor) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) {
    throw new ConfigError("bad-size", `cannot read size "${text}"`, {
      hint: "write bytes or a unit, such as 512M, 10GiB",
    });
  }
  return bytes;
}

/** A size for people: `1.5 GiB`. */
export function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Two sizes for people; in bytes when they are not the same and would print alike. */
export function formatSizes(one: number, other: number): readonly [string, string] {
  const texts = [formatSize(one), formatSize(other)] as const;
  return one !== other && texts[0] === texts[1] ? [`${one} bytes`, `${other} bytes`] : texts;
}

/** A duration for people: `840 ms`, `2.50 s`, `3 min 10 s`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}
