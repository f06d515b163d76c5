import { z } from "../../core/schema.ts";
import { type AnyState, defineState } from "../state.ts";
import { compareEnabled, noSuchService, readUnit, systemctl, unitName } from "./unit.ts";

const params = z.strictObject({ name: unitName.describe("The systemd unit") });

function atBoot(name: "service.enabled" | "service.disabled", wanted: boolean): AnyState {
  const word = wanted ? "enabled" : "disabled";
  return defineState({
    kind: "resource",
    name,
    summary: wanted ? "Has a service start at boot." : "Keeps a service from starting at boot.",
    params,
    check: async (service, { host }) => {
      const unit = await readUnit(host, service.name);
      if (!unit.loaded) {
        if (!wanted) return [];
        throw noSuchService(service.name);
      }
      return compareEnabled(unit, wanted);
    },
    apply: (service, { host, signal }) => systemctl(host, wanted ? "enable" : "disable", service.name, signal),
    settled: (service) => `the service ${service.name} is ${word}`,
  });
}

/** `service.enabled` */
export const serviceEnabled = atBoot("service.enabled", true);

/** `service.disabled` */
export const serviceDisabled = atBoot("service.disabled", false);
