import { z } from "../../core/schema.ts";
import { defineState } from "../state.ts";
import { compareDead, compareEnabled, readUnit, systemctl, unitName } from "./unit.ts";

const params = z.strictObject({
  name: unitName.describe("The systemd unit"),
  enable: z.boolean().optional().describe("Whether it starts at boot; left as it is when not given"),
});

/** `service.dead`: a service that this machine does not have is dead. */
export const serviceDead = defineState({
  kind: "resource",
  name: "service.dead",
  summary: "Stops a service.",
  params,
  check: async ({ name, enable }, { host }) => {
    const unit = await readUnit(host, name);
    return unit.loaded ? [...compareDead(unit), ...compareEnabled(unit, enable)] : [];
  },
  apply: async ({ name, enable }, { host, signal }, changes) => {
    const fields = new Set(changes.map(({ field }) => field));
    if (fields.has("running")) await systemctl(host, "stop", name, signal);
    if (fields.has("enabled")) await systemctl(host, enable === true ? "enable" : "disable", name, signal);
  },
  settled: ({ name }) => `the service ${name} is not running`,
});
