import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { cached } from "../../../lab/cached.ts";
import { command } from "../../../lab/command.ts";
import { RELEASE } from "../../../lab/image-recipe.ts";
import { ensurePackages, LAB_PACKAGES } from "../../../lab/packages.ts";
import { cacheDirectory, PROJECT } from "../../../lab/place.ts";
import { errorMessage } from "../../../src/core/errors.ts";
import { isOrphan, ownedName } from "../../../lab/scratch.ts";
import { TEST_PACKAGES } from "../../tools.ts";

/** What the README asks a newcomer to have. */
const ASKED_FOR = ["nodejs", "npm", "ca-certificates"] as const;
const ENTER = join(import.meta.dirname, "enter.sh");
const RUNS = "bare-run-";
const MAKING_MS = 15 * 60_000;
/** This machine's certificates: behind a proxy with its own authority nothing can be fetched without them. */
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** What a clone does not have. */
const NOT_CLONED = new Set([".git", "node_modules", "dist"]);
const NAMESPACES = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL"] as const;

/** A newcomer's machine: a copy-on-write layer over a bare Debian root, of which nothing is left after `remove`. */
export class BareRun {
  readonly #base: string;
  readonly #directory: string;
  readonly #home: string;

  private constructor(base: string, home: string) {
    this.#base = base;
    this.#home = home;
    this.#directory = join(cacheDirectory(), ownedName(RUNS));
  }

  /**
   * Makes one, with a clone of the project in the home (`root`, say) and what it takes here to reach both registries. What
   * killed runs left is removed.
   */
  static async create(home: string): Promise<BareRun> {
    const cache = cacheDirectory();
    for (const name of readdirSync(cache)) {
      if (isOrphan(RUNS, name)) rmSync(join(cache, name), { recursive: true, force: true });
    }
    const run = new BareRun(await bareRoot(), home);
    await run.#furnish();
    return run;
  }

  async #furnish(): Promise<void> {
    const upper = join(this.#directory, "upper");
    cpSync(PROJECT, join(upper, this.#home, "latchkey"), {
      recursive: true,
      filter: (path) => !NOT_CLONED.has(basename(path)),
    });
    for (const path of ["/etc/resolv.conf", "/etc/hosts", CERTIFICATES].filter((name) => existsSync(name))) {
      cpSync(path, join(upper, path), { dereference: true });
    }
    const { stdout } = await command(["apt-config", "dump"]);
    mkdirSync(join(upper, "etc/apt/apt.conf.d"), { recursive: true });
    const network = stdout.split("\n").filter((line) => /^Acquire::(?:https?::|Check-)/iu.test(line));
    writeFileSync(join(upper, "etc/apt/apt.conf.d/90machine"), `${network.join("\n")}\n`);
    const packages = [keptPackages(), join(homedir(), ".npm/_cacache")].find((path) => existsSync(path));
    if (packages === undefined) return;
    mkdirSync(join(upper, this.#home, ".npm"), { recursive: true });
    await command(["cp", "-a", packages, join(upper, this.#home, ".npm/_cacache")]);
  }

  /**
   * Runs a script in there, in namespaces that end with it and with us, and writes what it prints into a file that is named
   * on our standard error; resolves with that text.
   */
  async do(title: string, script: string): Promise<string> {
    const directory = join(cacheDirectory(), "transcripts");
    mkdirSync(directory, { recursive: true });
    const path = join(directory, `bare-debian-${title}.txt`);
    console.error(`-- transcript: ${path}`);
    const argv = ["env", "-i", `PATH=${PATH}`, ...networkEnvironment(), "sh", "-c", script];
    const enter = ["sh", ENTER, this.#base, this.#directory, cacheDirectory(), ...argv];
    const child = spawn("setpriv", ["--pdeathsig", "KILL", ...NAMESPACES, ...enter], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    // the process of a test outlives a test runner that is killed, and would wait on
    const end = () => child.kill("SIGKILL");
    process.once("disconnect", end);
    const transcript = createWriteStream(path);
    child.stdout.pipe(transcript, { end: false });
    child.stderr.pipe(transcript, { end: false });
    await once(child, "close");
    process.off("disconnect", end);
    transcript.end();
    await once(transcript, "close");
    await this.#keepPackages();
    return readFileSync(path, "utf8");
  }

  /** Keeps what npm fetched for the next run, where it installed everything. */
  async #keepPackages(): Promise<void> {
    const home = join(this.#directory, "upper", this.#home);
    if (!existsSync(join(home, "latchkey/node_modules/.package-lock.json"))) return;
    await cached(...KEPT, () => Promise.resolve(join(home, ".npm/_cacache")));
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Why this machine cannot make a bare root, in words for its user; undefined where it can. */
export async function whyNoBareRoot(): Promise<string | undefined> {
  const directory = join(cacheDirectory(), ownedName(RUNS));
  const [lower, upper, work, root] = ["lower", "upper", "work", "root"].map((name) => join(directory, name));
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  const script = `mkdir -p ${lower} ${upper} ${work} ${root} && mount -t overlay bare-root -o ${options} ${root}`;
  try {
    await command([...NAMESPACES, "sh", "-c", script]);
    return undefined;
  } catch (error) {
    return `this machine allows no copy-on-write mount in namespaces of its own: ${errorMessage(error)}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const shortHash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 12);

const KEPT = ["npm", shortHash(readFileSync(join(PROJECT, "package-lock.json"), "utf8"))] as const;
const keptPackages = (): string => join(cacheDirectory(), KEPT.join("-"));

/** A bare Debian root with what the README asks for and nothing else; what our commands install has been fetched, no more. */
async function bareRoot(): Promise<string> {
  await ensurePackages(["mmdebstrap"]);
  const fetched = [...new Set([...LAB_PACKAGES, ...TEST_PACKAGES])].join(" ");
  const recipe = [RELEASE, ASKED_FOR, fetched];
  return cached("debian", shortHash(JSON.stringify(recipe)), async (work) => {
    const root = join(work, "root");
    const fetch = `chroot "$1" apt-get -qq -y --download-only --no-install-recommends install ${fetched}`;
    const make = ["--quiet", "--variant=minbase", "--format=directory", `--include=${ASKED_FOR.join(",")}`];
    const keep = ["--skip=cleanup/apt", `--customize-hook=${fetch}`];
    await command(["mmdebstrap", ...make, ...keep, RELEASE, root], { timeoutMs: MAKING_MS });
    return root;
  });
}

/** Variables without which nothing outside is reached from here; the rest of this environment stays outside. */
const networkEnvironment = (): readonly string[] => [
  // what was kept is all that the lock file names; npm asks for news of every package unless it is told that it cannot
  `npm_config_${existsSync(keptPackages()) ? "offline" : "prefer_offline"}=true`,
  ...Object.entries({ NODE_EXTRA_CA_CERTS: CERTIFICATES, ...process.env })
    .filter(([name]) =>
      /^(?:NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|XDG_CACHE_HOME|\w+_proxy|npm_config_registry)$/iu.test(name),
    )
    .map(([name, value]) => `${name}=${value ?? ""}`),
];
