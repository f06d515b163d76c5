/** Where a volume is mounted, and the file that it lies in; either may be left out. */
export interface VolumePlace {
  readonly mount?: { readonly point: string } | undefined;
  readonly loop?: { readonly file: string } | undefined;
}

const partsOf = (path: string): readonly string[] => path.split("/").filter((part) => part !== "" && part !== ".");

/** Whether a path lies below a directory; the directory itself does not. */
export function isBelow(path: string, directory: string): boolean {
  const [inner, outer] = [partsOf(path), partsOf(directory)];
  return inner.length > outer.length && outer.every((part, index) => part === inner[index]);
}

/** Which place of a volume lies inside of another one's mount point: its own mount point or its loop file; else undefined. */
export function placeInside({ mount, loop }: VolumePlace, outer: VolumePlace): string | undefined {
  const directory = outer.mount?.point;
  if (directory === undefined) return undefined;
  return [mount?.point, loop?.file].find((path) => path !== undefined && isBelow(path, directory));
}

/**
 * The order in which volumes are brought up: one whose mount point or loop file lies inside of another's mount point comes
 * after it; else as given. Of volumes that lie in each other in a circle nothing can be made: they stay as they are.
 */
export function outerFirst<T extends VolumePlace>(volumes: readonly T[]): readonly T[] {
  const seen = new Set<T>();
  const ordered: T[] = [];
  const visit = (volume: T): void => {
    if (seen.has(volume)) return;
    seen.add(volume);
    for (const other of volumes) if (other !== volume && placeInside(volume, other) !== undefined) visit(other);
    ordered.push(volume);
  };
  for (const volume of volumes) visit(volume);
  return ordered;
}
