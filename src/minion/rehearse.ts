import { systemClock } from "../core/clock.ts";
import { createLogger } from "../core/log.ts";
import { rehearseMessages } from "../wire/rehearse.ts";
import { parseMinionConfig } from "./config.ts";
import { collectGrains } from "./grains.ts";
import { createHost, prepareCommands } from "./host.ts";
import { loadEngine } from "./state-engine.ts";

const CONFIG = `master: 192.0.2.1
id: rehearsal
startup_states: highstate
`;

/** The shape of a host that boots: a volume and its layers, on a disk that no machine has. */
const STATES: Readonly<Record<string, string>> = {
  "top.sls": `base:
  '*': [volume]
`,
  "volume/init.sls": `{{#if pillar.disk}}
pv:
  lvm.pv_present:
    - name: {{pillar.disk}}
    - vg: {{pillar.vg}}
{{/if}}
vg:
  lvm.vg_present:
    - name: {{pillar.vg}}
    - devices: {{pillar.disk}}
    - require:
      - lvm: pv
lv:
  lvm.lv_present:
    - name: {{pillar.vg}}
    - vgname: {{pillar.vg}}
    - size: 100%FREE
    - require:
      - lvm: vg
format:
  luks.formatted:
    - name: /dev/{{pillar.vg}}/{{pillar.vg}}
    - key: {{pillar.key}}
open:
  luks.opened:
    - name: {{pillar.vg}}_crypt
    - device: /dev/{{pillar.vg}}/{{pillar.vg}}
    - key: {{pillar.key}}
    - require:
      - luks: format
content:
  fs.formatted:
    - name: /dev/mapper/{{pillar.vg}}_crypt
    - fstype: {{pillar "fstype" "ext4"}}
    - require:
      - luks: open
mount:
  mount.mounted:
    - name: /latchkey-rehearsal
    - device: /dev/mapper/{{pillar.vg}}_crypt
    - fstype: ext4
    - mkmnt: True
    - require:
      - fs: content
`,
};
const PILLAR = { disk: "/dev/latchkey-rehearsal", vg: "latchkey-rehearsal", key: "secret:rehearsal" } as const;

const LAST_TIMER_MS = 1;

const nothing = async (): Promise<undefined> => undefined;

/**
 * Loads and runs once, as a trial that changes nothing, what a startup run goes through: configuration, grains, language,
 * engine, states, messages and commands. For a snapshot of the memory after it: there is no key, no identity and no connection that could stay in there.
 */
export async function rehearse(): Promise<void> {
  const host = createHost();
  const config = parseMinionConfig(CONFIG, "rehearsal");
  const [engine, grains] = await Promise.all([
    loadEngine(),
    collectGrains(host, config.id, config.grains),
    prepareCommands(),
  ]);
  const source = { read: async (path: string) => (STATES[path] === undefined ? undefined : Buffer.from(STATES[path])) };
  const compiled = await engine.compile(
    { kind: "highstate" },
    source,
    { id: config.id, grains, pillar: PILLAR },
    engine.known,
  );
  if (compiled.kind === "errors") throw compiled.errors[0];
  const deps = {
    id: config.id,
    host,
    clock: systemClock,
    random: () => 0,
    grains,
    pillar: PILLAR,
    states: engine.states,
    source: nothing,
    leases: {
      lease: async () => Promise.reject(new Error("a trial leases nothing")),
      records: () => [],
    },
    journal: { begin: nothing, commit: nothing, pending: nothing },
    execution: () => undefined,
  };
  await engine.runStates(compiled.chunks, deps, { test: true, signal: new AbortController().signal });
  rehearseMessages();
  // what starts a command has run as well
  await host.run(["true"], { stdin: Buffer.from(" ") });
  createLogger("rehearsal", "info", { write: () => undefined }).info({ id: config.id }, "rehearsed");
  // The last timer must run out. Node remembers when the next one is due, also one that was cleared, and what begins with a
  // snapshot has nothing that would wake it then: timers that are due later would never fire, nor keep the process alive.
  await systemClock.sleep(LAST_TIMER_MS);
}
