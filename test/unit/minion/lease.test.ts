import { CANARY_PATH } from "../../../src/core/canary.ts";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { sealSecret } from "../../../src/core/crypto/sealed-secret.ts";
import { AuthError, TransportError } from "../../../src/core/errors.ts";
import { verifySignature } from "../../../src/core/crypto/ed25519.ts";
import { generateIdentity } from "../../../src/core/identity.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Secret } from "../../../src/core/secret.ts";
import { createLeases } from "../../../src/minion/lease.ts";
import { createLink } from "../../../src/minion/link.ts";
import { leaseSigningBytes, receiptSigningBytes } from "../../../src/wire/lease-signature.ts";
import type { Request, Response } from "../../../src/wire/messages.ts";
import { FakeConnection } from "../../fakes/fake-connection.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

const identity = generateIdentity();
const subject = { device: "/dev/vg0/data" };
const TEXT = "a key of the test";
const isOurs = (message: Uint8Array, signature: Uint8Array) =>
  verifySignature(identity.public.signKey, message, signature);

function setUp(lease: (body: Request<"lease">, allow: () => Response<"lease">) => Response<"lease">, waitMs = 5000) {
  const waits: string[] = [];
  const connection: FakeConnection = new FakeConnection({
    lease: (body) => {
      expect(isOurs(leaseSigningBytes(body, connection.handshakeHash), body.signature)).toBe(true);
      return lease(body, () => ({
        verdict: "allow",
        leaseId: "lease-1",
        version: 3,
        generated: true,
        sealed: sealSecret(Secret.take(Buffer.from(TEXT)), connection.identity.dh, body.ephemeral),
      }));
    },
    "lease.receipt": (body) => {
      expect(isOurs(receiptSigningBytes(body, connection.handshakeHash), body.signature)).toBe(true);
      return {};
    },
  });
  const leases = createLeases({
    host: new FakeHost(),
    link: createLink(connection, systemClock, () => 0),
    identity,
    bootId: "boot",
    clock: systemClock,
    log: createLogger("test", "silent"),
    random: () => 0,
    waitMs,
    signal: new AbortController().signal,
    onWait: (reason) => waits.push(reason),
    onLostReceipt: (_leaseId, error) => {
      throw error;
    },
  });
  return { connection, leases, waits };
}

const receipts = (connection: FakeConnection) =>
  connection.asked
    .filter(({ method }) => method === "lease.receipt")
    .map(({ body }) => body as Request<"lease.receipt">);

test("I5: the key is there for the use and wiped after it, and the run says so", async () => {
  const { connection, leases } = setUp((_body, allow) => allow());
  let seen: Secret | undefined;
  const answer = await leases.lease("secret:luks:password", "open", subject, async (key) => {
    seen = key.secret;
    expect(key).toMatchObject({ generated: true, version: 3 });
    expect(key.secret.expose().toString()).toBe(TEXT);
    return "opened";
  });
  expect(answer).toBe("opened");
  expect(seen?.wiped).toBe(true);
  await leases.settle();
  expect(receipts(connection)).toMatchObject([{ leaseId: "lease-1", outcome: "opened", wiped: true }]);
  const [record] = leases.records();
  expect(record).toMatchObject({ ref: "secret:luks:password", purpose: "open" });
  expect(record?.wipedAt).toBeGreaterThanOrEqual(record?.usedAt ?? Number.POSITIVE_INFINITY);
});

test.each([
  ["format", "secret:p", "formatted"],
  ["rotate", "secret:p", "used"],
  ["open", `secret:${CANARY_PATH}`, "used"],
] as const)("a receipt says what a key for %s at %s did: %s", async (purpose, ref, outcome) => {
  const { connection, leases } = setUp((_body, allow) => allow());
  await leases.lease(ref, purpose, subject, async () => {});
  await leases.settle();
  expect(receipts(connection)).toMatchObject([{ outcome, wiped: true }]);
});

test("I5: the key is wiped when its use fails", async () => {
  const { connection, leases } = setUp((_body, allow) => allow());
  let seen: Secret | undefined;
  const use = leases.lease("secret:p", "format", subject, async ({ secret }) => {
    seen = secret;
    throw new Error("cryptsetup failed");
  });
  await expect(use).rejects.toThrow("cryptsetup failed");
  expect(seen?.wiped).toBe(true);
  await leases.settle();
  expect(receipts(connection)).toMatchObject([{ outcome: "failed", wiped: true }]);
});

test("every lease has an ephemeral key of its own", async () => {
  const keys = new Set<string>();
  const { leases } = setUp((body, allow) => {
    keys.add(Buffer.from(body.ephemeral).toString("hex"));
    return allow();
  });
  for (const path of ["a", "a"]) await leases.lease(`secret:${path}`, "open", subject, async () => {});
  expect(keys.size).toBe(2);
});

test("a refusal is an error, and nothing is used", async () => {
  const { leases } = setUp(() => ({ verdict: "deny" }));
  const use = leases.lease("secret:p", "open", subject, async () => expect.unreachable());
  await expect(use).rejects.toBeInstanceOf(AuthError);
});

test("a lease on hold asks again, and says what it waits for", async () => {
  let asked = 0;
  const { leases, waits } = setUp((_body, allow) => ((asked += 1) < 3 ? { verdict: "hold", retryMs: 5 } : allow()));
  expect(await leases.lease("secret:p", "open", subject, async () => "done")).toBe("done");
  expect(waits).toEqual(['the lease of "secret:p" waits for approval at the master']);
});

test("a lease on hold asks again at once when the master says so", async () => {
  let approved = false;
  const { connection, leases } = setUp((_body, allow) => (approved ? allow() : { verdict: "hold", retryMs: 60_000 }));
  const use = leases.lease("secret:p", "open", subject, async () => "opened");
  await expect.poll(() => connection.asked.length).toBe(1);
  approved = true;
  connection.nudge();
  expect(await use).toBe("opened");
});

test("the master's word that came while the request was under way is not missed", async () => {
  let asked = 0;
  const { connection, leases } = setUp((_body, allow) => {
    if ((asked += 1) > 1) return allow();
    connection.nudge();
    return { verdict: "hold", retryMs: 60_000 };
  });
  expect(await leases.lease("secret:p", "open", subject, async () => "opened")).toBe("opened");
});

test("a lease on hold gives up at its deadline", async () => {
  const { leases } = setUp(() => ({ verdict: "hold", retryMs: 50 }), 20);
  await expect(leases.lease("secret:p", "open", subject, async () => {})).rejects.toMatchObject({ code: "lease-held" });
});

test("a lease outlasts a lost connection", async () => {
  const { connection, leases, waits } = setUp((_body, allow) => allow());
  connection.drop();
  const use = leases.lease("secret:p", "open", subject, async () => "opened");
  expect(waits).toEqual(["the master cannot be reached"]);
  connection.restore();
  expect(await use).toBe("opened");
});

test("a refusal of a request signed for the session before is no verdict: it is asked again", async () => {
  let asked = 0;
  const { connection, leases } = setUp((_body, allow) => {
    if ((asked += 1) === 1) {
      connection.drop();
      connection.restore();
      throw new AuthError("refused", "refused");
    }
    return allow();
  });
  expect(await leases.lease("secret:p", "open", subject, async () => "opened")).toBe("opened");
});

test("without a master the wait ends at the deadline", async () => {
  const { connection, leases } = setUp((_body, allow) => allow(), 30);
  connection.drop();
  await expect(leases.lease("secret:p", "open", subject, async () => {})).rejects.toBeInstanceOf(TransportError);
});

test.each(["hunter2", "", "secret:", "secret:a\nb"])("only references are leased, not %j", async (ref) => {
  const { connection, leases } = setUp((_body, allow) => allow());
  const use = leases.lease(ref, "open", subject, async () => {});
  await expect(use).rejects.toMatchObject({ code: "bad-secret-ref" });
  await expect(use).rejects.not.toThrow("hunter2");
  expect(connection.asked).toEqual([]);
});
