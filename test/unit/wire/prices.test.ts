import { expect, test } from "vitest";
import { MAX_FRAME_BYTES } from "../../../src/wire/limits.ts";
import { methods } from "../../../src/wire/messages.ts";
import { encodeConfirm, encodeRequest, requestHead } from "../../../src/wire/packets.ts";
import { microsecondsOf, PRICES, priceOf } from "../../../src/wire/prices.ts";

test("every method that a minion may call has a price, and nothing is for free", () => {
  expect(Object.keys(PRICES).toSorted()).toEqual(Object.keys(methods).toSorted());
  for (const [method, { us, usPerKib }] of Object.entries(PRICES))
    expect([method, us > 0 && usPerKib > 0]).toEqual([method, true]);
  expect(priceOf("toString").us).toBeGreaterThan(0);
});

test("the price of a return of the largest frame is that of hundreds of leases", () => {
  expect(microsecondsOf(PRICES.return, MAX_FRAME_BYTES) / PRICES.lease.us).toBeGreaterThan(400);
});

test.each([0, 127, 128, 70_000, 2 ** 33])("number %d and method of a request are read from its first bytes", (id) => {
  const bytes = encodeRequest(id, "job.ack", { jid: "20260101000000000001" });
  expect(requestHead(bytes)).toEqual({ id, method: "job.ack" });
  expect(requestHead(Buffer.concat([bytes.subarray(0, 20), Buffer.alloc(3)]))?.id).toBe(id);
});

test("what is no request has no head, and a request without a number is refused", () => {
  expect(requestHead(encodeConfirm())).toBeUndefined();
  expect(requestHead(new Uint8Array())).toBeUndefined();
  expect(() => requestHead(Uint8Array.of(0x94, 0x00))).toThrow("cannot decode message");
  expect(() => requestHead(Uint8Array.of(0x94, 0x00, 0xa1, 0x61))).toThrow("cannot decode message");
});
