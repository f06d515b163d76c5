import { z } from "../../core/schema.ts";
import { defineFunction, ok } from "./function.ts";

const unit = z
  .string()
  .regex(/^[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\-]*$/u, "must be a unit name")
  .describe("Unit, with or without `.service`.");

/** `service.*`: systemd units, looked at. */
export const serviceFunctions = [
  defineFunction({
    name: "service.status",
    summary: "Whether the unit is active.",
    kind: "quick",
    positional: ["name"],
    params: z.strictObject({ name: unit }),
    run: async ({ name }, { host, signal }) => {
      // 3: not active, 4: no such unit (systemctl(1))
      const { exitCode } = await host.run(["systemctl", "is-active", "--quiet", "--", name], {
        okCodes: [0, 3, 4],
        signal,
      });
      return ok(exitCode === 0);
    },
  }),
  defineFunction({
    name: "service.enabled",
    summary: "Whether the unit starts at boot.",
    kind: "quick",
    positional: ["name"],
    params: z.strictObject({ name: unit }),
    run: async ({ name }, { host, signal }) => {
      const { exitCode } = await host.run(["systemctl", "is-enabled", "--quiet", "--", name], {
        okCodes: [0, 1, 4],
        signal,
      });
      return ok(exitCode === 0);
    },
  }),
];
