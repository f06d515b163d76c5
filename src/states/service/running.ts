import { z } from "../../core/schema.ts";
import { defineState } from "../state.ts";
import { compareEnabled, compareRunning, readUnit, systemctl, unitName } from "./unit.ts";

const params = z.strictObject({
  name: unitName.describe("The systemd unit, such as mariadb"),
  enable: z.boolean().optional().describe("Whether it starts at boot; left as it is when not given"),
  reload: z.boolean().default(false).describe("On a fired watch reload it rather than restart it"),
});

/** `service.running` */
export const serviceRunning = defineState({
  kind: "resource",
  name: "service.running",
  summary: "Starts a service; a fired watch restarts (or reloads) it.",
  params,
  check: async ({ name, enable }, { host }) => {
    const unit = await readUnit(host, name);
    return [...compareRunning(name, unit), ...compareEnabled(unit, enable)];
  },
  apply: async ({ name, enable }, { host, signal }, changes) => {
    const fields = new Set(changes.map(({ field }) => field));
    if (fields.has("enabled")) await systemctl(host, enable === true ? "enable" : "disable", name, signal);
    if (fields.has("running")) await systemctl(host, "start", name, signal);
  },
  settled: ({ name }) => `the service ${name} is already running`,
  react: async ({ name, reload }, { host, signal }) => {
    const verb = reload ? "reload-or-restart" : "restart";
    await systemctl(host, verb, name, signal);
    return { result: true, changes: { [name]: true }, comment: `service ${reload ? "reloaded" : "restarted"}` };
  },
  predictReact: ({ name, reload }) =>
    Promise.resolve({
      result: null,
      changes: {},
      comment: `service ${name} would be ${reload ? "reloaded" : "restarted"}`,
    }),
});
