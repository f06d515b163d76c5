import { userInfo } from "node:os";

/** For whom this runs, as told to the master for its audit log: who called sudo(8), else the user that this is; "" when nobody has a name. */
export function callingUser(env: NodeJS.ProcessEnv = process.env): string {
  const uid = process.getuid?.() ?? 0;
  const behind = uid === 0 ? (env["SUDO_USER"] ?? "") : "";
  if (behind !== "") return behind;
  try {
    return userInfo().username;
  } catch {
    // no such user in the machine's files
    return String(uid);
  }
}
