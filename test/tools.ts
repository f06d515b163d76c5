import { spawnSync } from "node:child_process";

/** Debian packages that tests outside the kernel and lab tiers use real programs of. */
export const TEST_PACKAGES = ["age", "cryptsetup-bin", "openssl"] as const;

/** Whether this machine does not have the program: what needs it is skipped then. */
export const lacks = (program: "age" | "cryptsetup" | "openssl" | "script"): boolean =>
  spawnSync(program, [program === "openssl" ? "version" : "--version"], { stdio: "ignore" }).error !== undefined;
