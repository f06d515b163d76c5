import { expect, test } from "vitest";
import { notifyService } from "../../../src/core/sd-notify.ts";

test("outside systemd nothing is told and nothing fails", async () => {
  expect(await notifyService({ ready: true }, {})).toBe(false);
});

test("a service manager that cannot be reached is no error", async () => {
  expect(await notifyService({ ready: true, status: "up" }, { NOTIFY_SOCKET: "/nonexistent/notify" })).toBe(false);
});
