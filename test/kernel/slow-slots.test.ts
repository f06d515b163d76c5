import { afterAll, describe, expect, test } from "vitest";
import { Machine } from "./support/machine.ts";
import { addSlowSlot } from "./support/slow-slot.ts";
import { machineKey, StateRun } from "./support/state-run.ts";

// What a person remembers is stretched with argon2id, which takes long on purpose. The machine's own key lies in a
// preferred slot, so opening with it never pays for the others, however many there are. Two devices, alike but for those
// slots, are opened by turns, and the fastest of each counts: what else the machine does meets both.
const ROUNDS = 3;
/** Of the time that adding one slow slot takes; reading a header with more slots in it costs cryptsetup a little. */
const SHARE = 1 / 3;

const machine = new Machine();
afterAll(() => machine.dispose());

describe.each([
  { area: "1M", slots: 2 },
  { area: "4M", slots: 8 },
])("a keyslot area of $area", ({ area, slots }) => {
  const key = machineKey();
  const run = new StateRun(machine.host, machine.directory, { "secret:k": key });

  async function formatted(): Promise<string> {
    const device = await machine.disk(24);
    await run.apply("luks.formatted", { name: device, key: "secret:k", keyslots_size: area });
    return device;
  }

  async function openMs(device: string): Promise<number> {
    const name = machine.name(`slow${slots}`);
    const begun = performance.now();
    await run.apply("luks.opened", { name, device, key: "secret:k" });
    const took = performance.now() - begun;
    await machine.sh("cryptsetup", "close", name);
    return took;
  }

  test(`opening with the machine's key takes as long with ${slots} slow slots as with none`, async () => {
    const [bare, crowded] = [await formatted(), await formatted()];
    let slowMs = 0;
    for (let slot = 0; slot < slots; slot += 1) slowMs = await addSlowSlot(machine.host, crowded, key.bytes);
    const times = { bare: Number.POSITIVE_INFINITY, crowded: Number.POSITIVE_INFINITY };
    for (let round = 0; round < ROUNDS; round += 1) {
      times.bare = Math.min(times.bare, await openMs(bare));
      times.crowded = Math.min(times.crowded, await openMs(crowded));
    }
    expect(times.crowded - times.bare).toBeLessThan(slowMs * SHARE);
    // else this would prove nothing
    expect(slowMs).toBeGreaterThan(times.bare);
  });
});
