const MAX_LINES = 4;
const MAX_CHARACTERS = 500;

/**
 * What a program said of its failure, as one line. Some tell the reason first and a general line or their usage last (mkfs.xfs, LVM),
 * others last: a few lines are told whole, of many the first two and the last. Warnings only where there is nothing else. At most 500
 * characters; "" for nothing.
 */
export function programWords(stderr: string): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line, index, all) => line !== "" && all.indexOf(line) === index);
  const plain = lines.filter((line) => !/^warning\b/iu.test(line));
  const told = plain.length > 0 ? plain : lines;
  const [first = "", second = ""] = told;
  const few = told.length <= MAX_LINES ? told : [first, second, "…", told.at(-1) ?? ""];
  const each = Math.floor(MAX_CHARACTERS / Math.max(1, few.length)) - 2;
  return few.map((line) => (line.length > each ? `${line.slice(0, each - 1)}…` : line)).join("; ");
}
