import { Command, CommanderError } from "commander";
import { CONTROL_SOCKET } from "../core/control-api.ts";
import { ConfigError } from "../core/errors.ts";
import { addAuditCommands } from "./audit-commands.ts";
import { addDaemonCommands } from "./daemon-commands.ts";
import { type Context, contextOf } from "./context.ts";
import { controlClient } from "./control-client.ts";
import { EXAMPLES } from "./examples.ts";
import { HELP } from "./help.ts";
import { addJobCommands } from "./job-commands.ts";
import { addLeakcheckCommand } from "./leakcheck.ts";
import { addMasterCommands } from "./master-commands.ts";
import { addSecretCommands } from "./secret-commands.ts";
import { addReleaseCommands } from "./release-commands.ts";
import { reportError } from "./report-error.ts";
import type { Rooms } from "./rooms.ts";
import type { Terminal } from "./terminal.ts";
import { addVolumeCommands } from "./volume-commands.ts";

/** What commands get hold of while they are set up: the context is made when one runs, for the socket it was given. */
export interface Setup {
  readonly context: () => Context;
  readonly rooms: Rooms;
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
  /** Notes the exit status of the command that ran. */
  readonly end: (status: number) => void;
}

function mistake(error: CommanderError, name: string): ConfigError {
  const message = error.message.replace(/^error: /u, "");
  return new ConfigError("bad-usage", message, { cause: error, hint: `see \`${name} --help\`` });
}

/** How a command line is run. */
export interface ProgramOptions {
  readonly version: string;
  readonly rooms: Rooms;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/** The tree of all commands; `end` hears the exit status of the one that runs. */
export function createProgram({ rooms, terminal, signal }: ProgramOptions, end: Setup["end"]): Command {
  const program = new Command("latchkey")
    .description("Push-based configuration management whose first job is delivering disk keys just in time.")
    .option("--socket <path>", `the master's control socket (LATCHKEY_SOCKET; default ${CONTROL_SOCKET})`)
    .showSuggestionAfterError(true)
    .helpCommand(true)
    .addHelpText("after", HELP.program);
  const context = () => {
    const socket = program.opts<{ socket?: string }>().socket ?? terminal.env["LATCHKEY_SOCKET"] ?? CONTROL_SOCKET;
    return contextOf(terminal, controlClient(socket, signal), signal);
  };
  const setup: Setup = { context, rooms, signal, terminal, end };
  addDaemonCommands(program, setup);
  addMasterCommands(program, setup);
  addAuditCommands(program, setup);
  addReleaseCommands(program, setup);
  addJobCommands(program, setup);
  addLeakcheckCommand(program, setup);
  addSecretCommands(program, setup);
  addVolumeCommands(program, setup);
  prepare(program, terminal, []);
  return program;
}

/**
 * Runs one command line and returns the exit status; errors are printed, never thrown. `argv` is without node and
 * script.
 */
export async function runProgram(argv: readonly string[], options: ProgramOptions): Promise<number> {
  const { version, terminal } = options;
  let status = 0;
  const program = createProgram(options, (code) => (status = code));
  // commands below have a --version of their own, which commander would take for the program's
  if (!namesCommand(argv)) program.version(version, "-V, --version");
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync(asHelpOption(program, argv), { from: "user" });
    return status;
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(error, terminal);
    if (error.exitCode === 0) return 0;
    // a group without the word that must follow: its help is the answer, and is printed by now
    if (error.code === "commander.help") return 2;
    return reportError(mistake(error, commandName(program, argv)), terminal);
  }
}

/**
 * `help keys list` as `keys list --help`, which commander answers for every depth; up to a word that names no command,
 * which is an error with the nearest name then and not the help of everything.
 */
function asHelpOption(program: Command, argv: readonly string[]): readonly string[] {
  if (argv[0] !== "help") return argv;
  let at = program;
  const words: string[] = [];
  for (const word of argv.slice(1)) {
    if (at.commands.length === 0) break;
    words.push(word);
    const below = at.commands.find((command) => command.name() === word);
    if (below === undefined) return words;
    at = below;
  }
  return [...words, "--help"];
}

/** Whether a command is named, rather than options of the program alone. */
function namesCommand(argv: readonly string[]): boolean {
  const rest = argv[0] === "--socket" ? argv.slice(2) : argv[0]?.startsWith("--socket=") ? argv.slice(1) : argv;
  return rest[0] !== undefined && !rest[0].startsWith("-");
}

/** Applies to a command and all below it what commander does not hand down: no exit, output through the terminal, examples. */
function prepare(command: Command, terminal: Terminal, words: readonly string[]): void {
  const examples = EXAMPLES[words.join(" ")];
  if (examples)
    command.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}\n`).join("")}`.trimEnd());
  command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.print(text),
      writeErr: (text) => terminal.warn(text),
      outputError: () => {},
      getOutHelpWidth: () => Math.min(terminal.columns(), 120),
    })
    .configureHelp({ showGlobalOptions: false });
  for (const below of command.commands) prepare(below, terminal, [...words, below.name()]);
}

/** The deepest command that the words name, for the hint of a usage error. */
function commandName(program: Command, argv: readonly string[]): string {
  const names = [program.name()];
  let at = program;
  for (const word of argv) {
    const below = at.commands.find((command) => command.name() === word);
    if (below === undefined) continue;
    names.push(word);
    at = below;
  }
  return names.join(" ");
}
