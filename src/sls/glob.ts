/** True when the pattern has any of fnmatch's special characters. */
export function isGlob(pattern: string): boolean {
  return /[*?[]/u.test(pattern);
}

type Token = { readonly kind: "any" } | { readonly kind: "one"; readonly matches: (character: string) => boolean };

/** The end of a `[...]` set that starts at `from`, or -1 when it never closes (fnmatch then takes `[` as itself). */
function setEnd(pattern: readonly string[], from: number): number {
  let at = from + 1;
  if (pattern[at] === "!") at += 1;
  if (pattern[at] === "]") at += 1;
  return pattern.indexOf("]", at);
}

function characterSet(characters: readonly string[]): (character: string) => boolean {
  const negated = characters[0] === "!";
  const body = negated ? characters.slice(1) : characters;
  const singles = new Set<string>();
  const ranges: (readonly [string, string])[] = [];
  for (let at = 0; at < body.length; at += 1) {
    const from = body[at] ?? "";
    const to = body[at + 2];
    if (body[at + 1] === "-" && to !== undefined) {
      ranges.push([from, to]);
      at += 2;
    } else singles.add(from);
  }
  return (character) =>
    (singles.has(character) || ranges.some(([from, to]) => character >= from && character <= to)) !== negated;
}

function tokenize(pattern: string): readonly Token[] {
  const characters = Array.from(pattern);
  const tokens: Token[] = [];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] ?? "";
    const end = character === "[" ? setEnd(characters, at) : -1;
    if (character === "*") tokens.push({ kind: "any" });
    else if (character === "?") tokens.push({ kind: "one", matches: () => true });
    else if (end > 0) {
      tokens.push({ kind: "one", matches: characterSet(characters.slice(at + 1, end)) });
      at = end;
    } else tokens.push({ kind: "one", matches: (other) => other === character });
  }
  return tokens;
}

/**
 * A matcher of whole texts for a shell pattern as Python's fnmatch reads it: `*`, `?`, `[a-z]`, `[!a-z]`, case counts.
 * Never slower than pattern length times text length, whatever the pattern.
 */
export function globMatcher(pattern: string): (text: string) => boolean {
  const known = matchers.get(pattern);
  if (known) return known;
  const made = makeMatcher(pattern);
  if (matchers.size >= MAX_MATCHERS) matchers.clear();
  matchers.set(pattern, made);
  return made;
}

// release rules, targets and top files ask with the same few patterns again and again
const MAX_MATCHERS = 500;
const matchers = new Map<string, (text: string) => boolean>();

function makeMatcher(pattern: string): (text: string) => boolean {
  if (!isGlob(pattern)) return (text) => text === pattern;
  const tokens = tokenize(pattern);
  return (text) => {
    const characters = Array.from(text);
    let token = 0;
    let at = 0;
    let star = -1;
    let starAt = 0;
    while (at < characters.length) {
      const current = tokens[token];
      if (current?.kind === "any") {
        star = token;
        starAt = at;
        token += 1;
      } else if (current?.matches(characters[at] ?? "") === true) {
        token += 1;
        at += 1;
      } else if (star >= 0) {
        // let the last star take one character more
        starAt += 1;
        at = starAt;
        token = star + 1;
      } else return false;
    }
    return tokens.slice(token).every((rest) => rest.kind === "any");
  };
}
