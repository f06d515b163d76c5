import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Hold } from "../../../../src/master/release/hold-record.ts";
import { Notifier } from "../../../../src/master/notify.ts";
import { holdNotice } from "../../../../src/master/release/hold-notice.ts";
import { HandClock } from "../fakes.ts";
import { lacks } from "../../../tools.ts";

const hold: Hold = {
  holdId: "4f2a000000",
  id: "web1",
  path: "disk:password",
  purpose: "open",
  device: "/dev/vg0/data",
  luksUuid: "",
  bootId: "b",
  address: "192.0.2.1",
  rule: "ask",
  reasons: [{ code: "once-a-boot", text: "the key was leased in this boot already" }],
  reasonsHash: "0",
  since: 0,
  askedAt: 0,
  needed: { count: 1, of: null },
  approvals: [],
  askers: [],
  denied: null,
};

let directory: string;
let server: Server | undefined;
let notifier: Notifier | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "latchkey-notify-"));
});
afterEach(() => {
  notifier?.close();
  server?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A key and a certificate for 127.0.0.1 that nobody but itself vouches for. */
function selfMade(name: string) {
  const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.pem`)];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  execFileSync("openssl", [...made, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
  return { key, cert };
}

async function receiver(statuses: readonly number[], tls?: { readonly key: string; readonly cert: string }) {
  const bodies: string[] = [];
  const answer: RequestListener = (request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      bodies.push(body);
      response.writeHead(statuses[bodies.length - 1] ?? 200).end();
    });
  };
  server = tls
    ? createTlsServer({ key: readFileSync(tls.key), cert: readFileSync(tls.cert) }, answer)
    : createServer(answer);
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  return { bodies, url: `${tls ? "https" : "http"}://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

function start(options: {
  readonly command?: readonly string[];
  readonly webhook?: string;
  readonly webhookCa?: string;
}) {
  const failures: unknown[] = [];
  notifier = new Notifier({
    about: "hold",
    command: options.command,
    webhook: options.webhook,
    webhookCa: options.webhookCa,
    clock: new HandClock(),
    report: (_message, error) => failures.push(error),
  });
  notifier.tell(hold.id, holdNotice(hold));
  return failures;
}

test("a webhook gets host, address, secret and reasons, again when it fails", async () => {
  const { bodies, url } = await receiver([500, 503]);
  const failures = start({ webhook: url });
  await expect.poll(() => bodies.length).toBe(3);
  expect(failures).toHaveLength(2);
  expect(JSON.parse(bodies[2] ?? "")).toMatchObject({
    event: "lease-held",
    host: "web1",
    address: "192.0.2.1",
    secret: "disk:password",
    reasons: [{ code: "once-a-boot" }],
  });
});

test.skipIf(lacks("openssl"))(
  "a webhook over https is told when its certificate is believed, and only then",
  async () => {
    const [own, other] = [selfMade("own"), selfMade("other")];
    const { bodies, url } = await receiver([], own);
    for (const webhookCa of [undefined, other.cert]) {
      const failures = start({ webhook: url, ...(webhookCa === undefined ? {} : { webhookCa }) });
      await expect.poll(() => failures.length, { timeout: 10_000 }).toBe(6);
      expect(String(failures[0])).toContain("self-signed certificate");
      notifier?.close();
    }
    expect(bodies).toEqual([]);
    start({ webhook: url, webhookCa: own.cert });
    await expect.poll(() => bodies.length, { timeout: 10_000 }).toBe(1);
  },
);

test("a webhook that always fails is given up", async () => {
  const { bodies, url } = await receiver(Array.from({ length: 20 }, () => 500));
  const failures = start({ webhook: url });
  await expect.poll(() => failures.length).toBe(6);
  expect(bodies).toHaveLength(6);
});

test("I5: a command gets the facts on standard input, and nothing in its arguments and environment", async () => {
  const out = join(directory, "out");
  start({ command: ["/bin/sh", "-c", 'cat > "$0.tmp"; env >> "$0.tmp"; mv "$0.tmp" "$0"', out] });
  const read = () => {
    try {
      return readFileSync(out, "utf8");
    } catch {
      return "";
    }
  };
  await expect.poll(read).toContain('"host":"web1"');
  expect(
    read()
      .split("\n")
      .filter((line) => /^(?:LATCHKEY|NODE)/u.test(line)),
  ).toEqual([]);
});

test("many hosts held at once are all told of, one by one or in a summary", async () => {
  const { bodies, url } = await receiver([]);
  const failures = start({ webhook: url });
  for (let n = 2; n <= 500; n += 1) notifier?.tell(`web${n}`, holdNotice({ ...hold, id: `web${n}` }));
  const named = () =>
    bodies.flatMap((body) => {
      const notice = JSON.parse(body) as { readonly host?: string; readonly hosts?: readonly string[] };
      return notice.hosts ?? [notice.host ?? ""];
    });
  await expect.poll(() => new Set(named()).size, { timeout: 10_000 }).toBe(500);
  expect(named()).toHaveLength(500);
  expect(JSON.parse(bodies.at(-1) ?? "")).toMatchObject({ event: "notices-left-out", about: "hold", count: 392 });
  expect(failures).toHaveLength(1);
});

test("a host that makes many holds is told of now and then only", async () => {
  const { bodies, url } = await receiver([]);
  start({ webhook: url });
  for (let n = 0; n < 50; n += 1) notifier?.tell(hold.id, holdNotice(hold));
  await expect.poll(() => bodies.length).toBe(10);
});
