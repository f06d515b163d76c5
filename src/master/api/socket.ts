import { chmodSync, lstatSync, mkdtempSync, renameSync, rmSync, type Stats } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { ConfigError, errorMessage, HostError } from "../../core/errors.ts";
import { takeOwnDirectory } from "../../core/own-directory.ts";
import type { SocketAccess } from "../config.ts";

const MODES: Readonly<Record<SocketAccess, number>> = { owner: 0o600, group: 0o660 };

/**
 * Binds a server to a unix socket that is this user's alone, or its group's too: made with its mode in a private directory
 * and renamed to its place, so that nobody can connect before. A socket that a dead process left is replaced. Returns what removes it.
 * Throws HostError `socket-in-use` when somebody answers there, `socket-failed` when it cannot be bound, ConfigError
 * `socket-path` when something else has that name, and as `takeOwnDirectory` does.
 */
export async function bindSocket(server: Server, path: string, access: SocketAccess): Promise<() => void> {
  takeOwnDirectory("the directory of socket", dirname(path), 0o700);
  const before = statOf(path);
  if (before !== undefined && !before.isSocket()) {
    throw new ConfigError("socket-path", `cannot listen on "${path}": there is a file that is no socket`);
  }
  if (before !== undefined && (await answers(path))) {
    throw new HostError("socket-in-use", `cannot listen on "${path}": another process answers there`, {
      hint: "another master runs: stop it first, or set another socket",
    });
  }
  const room = mkdtempSync(join(dirname(path), ".s"));
  try {
    const temporary = join(room, "s");
    await listen(server, temporary);
    chmodSync(temporary, MODES[access]);
    renameSync(temporary, path);
  } catch (error) {
    server.close();
    throw new HostError("socket-failed", `cannot listen on "${path}": ${errorMessage(error)}`, { cause: error });
  } finally {
    rmSync(room, { recursive: true, force: true });
  }
  const mine = statOf(path);
  return () => {
    if (statOf(path)?.ino === mine?.ino) rmSync(path, { force: true });
  };
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

async function listen(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(path, resolve);
  await promise;
  server.off("error", reject);
}

async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.setTimeout(2000, () => resolve(true));
  socket.once("connect", () => resolve(true));
  socket.once("error", () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
