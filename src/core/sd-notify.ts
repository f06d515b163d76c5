import { spawn } from "node:child_process";

/** What a service tells systemd (sd_notify(3)). */
export interface ServiceNotice {
  readonly ready?: boolean;
  readonly stopping?: boolean;
  /** One line for `systemctl status`. */
  readonly status?: string;
}

const DEADLINE_MS = 5000;

/**
 * Tells systemd where this service stands, when systemd started it (`NOTIFY_SOCKET` is set), else does nothing. Node
 * cannot write to a datagram unix socket, so systemd-notify(1) does it; the unit needs `NotifyAccess=all`. Resolves true
 * when the notice was handed over. Never throws: a service works without it.
 */
export async function notifyService(notice: ServiceNotice, env: NodeJS.ProcessEnv = process.env): Promise<boolean> {
  const socket = env["NOTIFY_SOCKET"];
  if (socket === undefined || socket === "") return false;
  const words = [
    ...(notice.ready === true ? ["READY=1"] : []),
    ...(notice.stopping === true ? ["STOPPING=1"] : []),
    ...(notice.status === undefined ? [] : [`STATUS=${notice.status.replaceAll(/\s+/gu, " ")}`]),
  ];
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const child = spawn("systemd-notify", ["--", ...words], {
    env: { NOTIFY_SOCKET: socket, PATH: "/usr/bin:/bin:/usr/local/bin" },
    stdio: "ignore",
    timeout: DEADLINE_MS,
  });
  child.once("error", () => resolve(false));
  child.once("exit", (code) => resolve(code === 0));
  return promise;
}
