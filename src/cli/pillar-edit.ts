import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PillarSource, PillarUpdate, PillarUpdated } from "../core/control-api.ts";
import { ConfigError, HostError, LatchkeyError } from "../core/errors.ts";
import { assertMinionId } from "../core/ids.ts";
import type { Context } from "./context.ts";
import { messageInEditor, withHeader, withoutHeader } from "./edit-text.ts";
import { editorArgv, openEditor } from "./editor.ts";
import { sanitiseLine } from "./format/sanitise.ts";
import { diskSwaps, makeMemoryDirectory, memoryPlaces, wipeDirectory, wipeLeftovers } from "./memory-directory.ts";
import { RemoteError } from "./remote-error.ts";

/** What the editor is opened with: a text, what the master has, what to tell on top, and why the last try failed. */
interface Round {
  readonly text: string;
  readonly base: PillarSource;
  readonly messages: readonly string[];
  readonly failure: LatchkeyError | undefined;
}

/** What stays the same over all rounds of one edit. */
interface Desk {
  readonly id: string;
  readonly url: string;
  readonly directory: string;
  readonly editor: readonly [string, ...string[]];
  readonly force: boolean;
  readonly context: Context;
}

/**
 * `pillar edit <host>`: the host's pillar file in the operator's editor, secrets decrypted, on a file system in memory.
 * Whatever the master refuses opens the editor again with the reason on top; leaving the file untouched gives up. The
 * plaintext is overwritten and removed however this ends; after a KILL, by the next edit. Throws what the last try failed
 * with when the operator gives up.
 */
export async function editPillar(
  id: string,
  context: Context,
  { force }: { readonly force: boolean } = { force: false },
): Promise<number> {
  const { client, terminal } = context;
  assertMinionId(id);
  const uid = process.getuid?.() ?? 0;
  const places = memoryPlaces(uid, terminal.env["XDG_RUNTIME_DIR"]);
  for (const path of wipeLeftovers(places, uid)) terminal.warn(`wiped what an interrupted edit had left in ${path}\n`);
  const editor = editorArgv(terminal.env);
  const url = `/v1/pillar/${encodeURIComponent(id)}/source`;
  const base = await client.request<PillarSource>("GET", url);
  const swaps = diskSwaps();
  if (swaps.length > 0) {
    terminal.warn(`warning: swap is on (${swaps.join(", ")}): the plaintext may reach it while you edit\n`);
  }
  const directory = makeMemoryDirectory(places);
  const wipe = () => wipeDirectory(directory);
  // the last net, for an end that does not come back here
  process.on("exit", wipe);
  try {
    const desk: Desk = { id, url, directory, editor, force, context };
    let round: Round | undefined = { text: base.text, base, messages: greeting(desk, base), failure: undefined };
    while (round) round = await playRound(round, desk);
    return 0;
  } finally {
    wipe();
    process.removeListener("exit", wipe);
  }
}

function greeting({ id }: Desk, { path, revision }: PillarSource): readonly string[] {
  const file = sanitiseLine(path);
  return [
    revision === "" ? `Pillar of ${id}: ${file} does not exist yet.` : `Pillar of ${id}: ${file}, secrets decrypted.`,
    "Leave it untouched to change nothing. These lines are not saved.",
  ];
}

/** Opens the editor once. Returns the next round when the master refuses, undefined when the edit is over. */
async function playRound(round: Round, desk: Desk): Promise<Round | undefined> {
  const { client, terminal, signal } = desk.context;
  const file = join(desk.directory, `${desk.id}.yaml`);
  const opened = withHeader(round.text, round.messages);
  writeFileSync(file, opened, { mode: 0o600 });
  await openEditor(desk.editor, file, signal);
  const saved = readBack(file);
  const text = withoutHeader(saved);
  if (round.failure && isSameAgain(round, text, saved === opened)) {
    // an editor that writes the same text whatever happens would go round for ever
    const next = await askWhatNow(round.failure, desk);
    if (next === "give-up") return giveUp(round.failure, saved === opened, desk);
    if (next === "edit") return { ...round, text };
  } else if (saved === opened || text === round.base.text) {
    terminal.warn("nothing changed\n");
    return undefined;
  }
  if (text.includes("\ufffd") && !round.text.includes("\ufffd")) {
    const failure = new ConfigError("not-utf8", `cannot save the pillar of ${desk.id}: it is not UTF-8 text`);
    return { ...round, text, messages: [failure.message, "Unreadable bytes are shown as \ufffd."], failure };
  }
  try {
    const update: PillarUpdate = { revision: round.base.revision, text, ...(desk.force ? { force: true } : {}) };
    const result = await client.request<PillarUpdated>("PUT", desk.url, update);
    reportSaved(desk, round.base.path, result);
    return undefined;
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error;
    return await roundAfter(error, text, round.base, desk);
  }
}

/** Whether this is the text just refused. Onto what somebody else saved meanwhile, saving it again is a decision. */
function isSameAgain({ text, failure }: Round, saved: string, isUntouched: boolean): boolean {
  return isUntouched || (saved === text && !isConflict(failure));
}

/** On a terminal nothing is given up without asking; without one it is. */
async function askWhatNow(failure: LatchkeyError, { context }: Desk): Promise<"edit" | "save" | "give-up"> {
  const { terminal, signal } = context;
  if (!terminal.interactive) return "give-up";
  const [again, keys] = isConflict(failure) ? ["", "e/g"] : ["(s)ave again, ", "e/s/g"];
  const why = sanitiseLine(failure.message);
  const answer = await terminal.ask(`${why}\n(e)dit again, ${again}or (g)ive up? [${keys}] `, signal);
  if (/^e/iu.test(answer)) return "edit";
  return again !== "" && /^s/iu.test(answer) ? "save" : "give-up";
}

function giveUp(failure: LatchkeyError, isUntouched: boolean, { context }: Desk): never {
  if (!isUntouched) context.terminal.warn("the editor saved the same text again: it is wiped, nothing was written\n");
  throw failure;
}

const isConflict = (failure: LatchkeyError | undefined): boolean =>
  failure instanceof RemoteError && failure.httpStatus === 409;

function readBack(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new HostError("editor-failed", "cannot read back what was edited; nothing was written", { cause: error });
  }
}

/** The operator's text again, with what went wrong; after a conflict, standing on what the master has now. */
async function roundAfter(failure: LatchkeyError, text: string, base: PillarSource, desk: Desk): Promise<Round> {
  const hint = failure.hint === undefined ? [] : [`hint: ${failure.hint}`];
  const why = failure.message.split("\n").length;
  // the lines of the reason, the hint, and what to do now
  const message = messageInEditor(failure, base.path, text, why + hint.length + 1);
  const messages = [`NOT SAVED: ${message}`, ...hint];
  const giveUp = "Leave the file untouched to give up; these lines are not saved.";
  if (!isConflict(failure)) {
    return { text, base, messages: [...messages, `Mend it and save again. ${giveUp}`], failure };
  }
  const theirs = await newest(desk);
  if (theirs instanceof LatchkeyError) {
    return { text, base, messages: [...messages, theirs.message, `Save again to try again. ${giveUp}`], failure };
  }
  const file = join(desk.directory, `${desk.id}.theirs.yaml`);
  writeFileSync(file, theirs.text, { mode: 0o600 });
  const howTo = [
    `What the master has now is in ${file}`,
    "Take from it what you need and save to write this text in its place; removing these lines is enough.",
    giveUp,
  ];
  return { text, base: theirs, messages: [...messages, ...howTo], failure };
}

/** What the master has now, or why it cannot be had: by then the operator's text must not be lost. */
async function newest({ context, url }: Desk): Promise<PillarSource | LatchkeyError> {
  try {
    return await context.client.request<PillarSource>("GET", url);
  } catch (error) {
    if (error instanceof LatchkeyError) return error;
    throw error;
  }
}

function reportSaved({ id, context }: Desk, path: string, { changedSecrets, warnings }: PillarUpdated): void {
  const { terminal, paint } = context;
  for (const warning of warnings) terminal.warn(`warning: ${sanitiseLine(warning)}\n`);
  const count = changedSecrets.length;
  const names = changedSecrets.map(sanitiseLine).join(", ");
  const secrets =
    count === 0 ? "no secret changed" : `${count === 1 ? "one secret" : `${count} secrets`} changed: ${names}`;
  terminal.print(`${paint("green", "saved")} ${sanitiseLine(path)} for ${id}; ${secrets}\n`);
}
