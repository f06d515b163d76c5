import { expect, test } from "vitest";
import { HostError } from "../../../../src/core/errors.ts";
import { createLogger } from "../../../../src/core/log.ts";
import { Secret } from "../../../../src/core/secret.ts";
import { loggedHost } from "../../../../src/minion/volume/logged-host.ts";
import { layerOfState } from "../../../../src/states/volume/layer.ts";
import { FakeHost } from "../../../fakes/fake-host.ts";

const KEY = "correct horse";
const ABOUT = { volume: "data", layer: "luks" } as const;

/** Runs commands on a host that is logged; the lines of the log. */
async function linesOf(host: FakeHost, work: (logged: ReturnType<typeof loggedHost>) => Promise<unknown>) {
  const lines: string[] = [];
  const log = createLogger("minion", "info", { write: (line: string) => void lines.push(line) });
  // a fake's methods are on its prototype, which spreading leaves behind
  const plain = { run: host.run.bind(host) } as unknown as Parameters<typeof loggedHost>[0];
  await work(loggedHost(plain, log, ABOUT)).catch((error: unknown) => {
    if (!(error instanceof HostError)) throw error;
  });
  return { text: lines.join(""), lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test.each([
  ["what succeeds", ["cryptsetup", "luksOpen", `--label=${KEY}`], { exitCode: 0 }, "cryptsetup luksOpen", "exit 0"],
  ["what may fail", ["/sbin/cryptsetup", "open", "x"], { exitCode: 2 }, "cryptsetup open", "exit 2"],
  ["what fails", ["mount", "-o", KEY], { exitCode: 32, stderr: KEY }, "mount", "exit 32"],
] as const)(
  "I5: %s is one line with volume, layer, time and result, and no secret",
  async (_what, argv, ends, name, how) => {
    const host = new FakeHost().on(argv, { ...ends, stdout: KEY });
    const secret = Secret.take(Buffer.from(KEY));
    const { text, lines } = await linesOf(host, (logged) => logged.run(argv, { stdin: secret, okCodes: [0, 2] }));
    expect(lines).toEqual([
      expect.objectContaining({
        ...ABOUT,
        ms: expect.any(Number) as number,
        exitCode: ends.exitCode,
        msg: expect.stringMatching(new RegExp(`^${name} … ${how} in \\d+ ms$`, "u")) as string,
      }),
    ]);
    expect(text).not.toContain(KEY);
    expect(host.runs.map(({ stdin }) => stdin.toString())).toEqual([KEY]);
  },
);

test("what was stopped before it ended says so", async () => {
  const { lines } = await linesOf(new FakeHost(), (logged) =>
    logged.run(["lvchange"], { signal: AbortSignal.abort() }),
  );
  expect(lines.map(({ msg }) => msg)).toEqual([expect.stringMatching(/^lvchange … aborted in \d+ ms$/u)]);
});

test.each([
  ["lvm.pv_present", "pv"],
  ["lvm.vg_present", "vg"],
  ["lvm.lv_absent", "lv"],
  ["luks.opened", "luks"],
  ["loop.attached", "loop"],
  ["fs.formatted", "fs"],
  ["mount.mounted", "mount"],
  ["volume.running", undefined],
  ["service.running", undefined],
])("%s is of layer %s", (state, layer) => {
  expect(layerOfState(state)).toBe(layer);
});
