import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { machineMirror } from "../../../lab/debian-mirror.ts";

let etc = "";

beforeEach(() => {
  etc = mkdtempSync(join(tmpdir(), "latchkey-etc-"));
  write("os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n');
});

afterEach(() => rmSync(etc, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(etc, path)), { recursive: true });
  writeFileSync(join(etc, path), text);
}

const KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBGPL0BUBEAD\n -----END PGP PUBLIC KEY BLOCK-----";

const CASES: readonly (readonly [string, Readonly<Record<string, string>>, unknown])[] = [
  ["there is no source", {}, undefined],
  [
    "a line, with its options",
    {
      "sources.list":
        "# own\ndeb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] http://mirror.example/debian bookworm main # x\n",
    },
    { uris: "http://mirror.example/debian", signedBy: "/k/a.gpg /k/b.gpg" },
  ],
  [
    "a line without options, among those of a disc, of security, of sources and of others",
    {
      "sources.list":
        "deb cdrom:[disc]/ bookworm main\ndeb http://security.example/ bookworm-security main\ndeb-src http://src.example bookworm main\n" +
        "#deb http://off.example bookworm main\ndeb http://mirror.example/debian bookworm main contrib\n",
      "sources.list.d/other.list": "deb http://other.example nodistro main\n",
    },
    { uris: "http://mirror.example/debian" },
  ],
  [
    "a stanza with a comment in it",
    {
      "sources.list.d/debian.sources":
        "Types: deb\n# as of today\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n" +
        "Signed-By: /usr/share/keyrings/debian.gpg\n\nTypes: deb\nURIs: http://security.example\nSuites: bookworm-security\n",
    },
    { uris: "http://mirror.example/debian", signedBy: "/usr/share/keyrings/debian.gpg" },
  ],
  [
    "stanzas that are off or hold sources only, then one with several addresses and a key in it",
    {
      "sources.list.d/debian.sources":
        "Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: bookworm\n\nTypes: deb-src\nURIs: http://src.example\nSuites: bookworm\n\n" +
        `types: deb deb-src\nuris: http://one.example\n  http://two.example\nsuites: bookworm\nsigned-by:\n ${KEY}\n`,
    },
    { uris: "http://one.example http://two.example", signedBy: KEY },
  ],
  [
    "a file that apt does not read",
    { "sources.list.d/debian.sources.bak": "Types: deb\nURIs: a:b\nSuites: bookworm\n" },
    undefined,
  ],
  ["another release only", { "sources.list": "deb http://mirror.example/debian trixie main\n" }, undefined],
];

test.each(CASES)("the machine's mirror: %s", (_what, files, mirror) => {
  for (const [path, text] of Object.entries(files)) write(`apt/${path}`, text);
  expect(machineMirror(etc)).toEqual(mirror);
});

test("a system that is no Debian has no mirror of it", () => {
  write("os-release", "VERSION_CODENAME=bookworm\nID=raspbian\n");
  write("apt/sources.list", "deb http://mirror.example/raspbian bookworm main\n");
  expect(machineMirror(etc)).toBeUndefined();
});
