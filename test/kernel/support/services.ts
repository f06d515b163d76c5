import type { Host } from "../../../src/core/host.ts";

/** Services as systemd would answer for them, and what was asked of it, in order. */
export class Services {
  readonly asked: string[] = [];
  readonly #active = new Map<string, string>();
  /** Verbs that fail for a service: `start mariadb`. */
  readonly broken = new Set<string>();

  constructor(names: readonly string[]) {
    for (const name of names) this.#active.set(name, "inactive");
  }

  get running(): readonly string[] {
    return [...this.#active].filter(([, state]) => state === "active").map(([name]) => name);
  }

  set(name: string, state: "active" | "inactive"): void {
    this.#active.set(name, state);
  }

  /** The host with a systemctl of its own. */
  on(host: Host): Host {
    return {
      ...host,
      run: async (argv, options) => {
        if (argv[0] !== "systemctl") return host.run(argv, options);
        const names = argv.slice(argv.indexOf("--") + 1);
        const [, verb = ""] = argv;
        if (verb === "show") return host.run(["printf", "%s", this.#show(names)]);
        const [name = ""] = names;
        this.asked.push(`${verb} ${name}`);
        if (this.broken.has(`${verb} ${name}`)) return host.run(["false"]);
        this.#active.set(name, verb === "stop" ? "inactive" : "active");
        return host.run(["true"]);
      },
    };
  }

  #show(names: readonly string[]): string {
    return names
      .map((name) => {
        const state = this.#active.get(name);
        return `LoadState=${state === undefined ? "not-found" : "loaded"}\nActiveState=${state ?? "inactive"}\nUnitFileState=disabled\n`;
      })
      .join("\n");
  }
}
