import { stripVTControlCharacters } from "node:util";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const EVERY_MS = 100;

const secondsSince = (startedAt: number): string => `${((Date.now() - startedAt) / 1000).toFixed(1)} s`;

type Style = "bold" | "dim" | "green" | "red" | "cyan";
const CODES: Readonly<Record<Style, number>> = { bold: 1, dim: 2, green: 32, red: 31, cyan: 36 };

/**
 * Tells a story in steps: on a terminal with a live line under the running step, elsewhere one line as a step begins and
 * one as it ends.
 */
export class Narration {
  readonly #out: NodeJS.WriteStream;
  readonly #live: boolean;
  readonly #colour: boolean;
  #detail = "";
  #startedAt = Date.now();
  #stagedAt: number | undefined;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
    this.#live = out.isTTY && process.env["CI"] === undefined && process.env["TERM"] !== "dumb";
    this.#colour = this.#live && process.env["NO_COLOR"] === undefined;
  }

  /** The text in a style, plain where there are no colours. */
  paint(style: Style, text: string): string {
    const escape = String.fromCodePoint(27);
    return this.#colour ? `${escape}[${CODES[style]}m${text}${escape}[0m` : text;
  }

  chapter(title: string): void {
    this.#out.write(`\n${this.paint("bold", title)}\n`);
  }

  /** Prose or a result, indented below its step. */
  tell(text: string): void {
    this.#clear();
    for (const line of text.split("\n")) this.#out.write(`  ${line}\n`);
  }

  /** What the running step is at: shown on its live line only. */
  detail = (text: string): void => {
    this.#detail = stripVTControlCharacters(text).trim();
    this.#stagedAt = undefined;
  };

  /** What a long step is at now, with its time: on its live line, elsewhere a line of its own. */
  stage = (text: string): void => {
    this.detail(text);
    this.#stagedAt = Date.now();
    if (!this.#live) this.#out.write(`  ${this.#detail}  (after ${secondsSince(this.#startedAt)})\n`);
  };

  /** Does one step; a failure is marked and thrown on. */
  async step<T>(title: string, work: () => Promise<T>): Promise<T> {
    const startedAt = Date.now();
    this.#startedAt = startedAt;
    this.#stagedAt = undefined;
    const seconds = () => secondsSince(startedAt);
    let frame = 0;
    this.#detail = "";
    const draw = () => {
      frame = (frame + 1) % FRAMES.length;
      const line = `${FRAMES[frame] ?? ""} ${title}  ${seconds()}  `;
      const staged = this.#stagedAt === undefined ? "" : `  ${secondsSince(this.#stagedAt)}`;
      const room = Math.max(0, this.#out.columns - line.length - staged.length - 1);
      this.#clear();
      this.#out.write(this.paint("cyan", line) + this.paint("dim", this.#detail.slice(0, room) + staged));
    };
    if (!this.#live) this.#out.write(`… ${title}\n`);
    const timer = this.#live ? setInterval(draw, EVERY_MS) : undefined;
    try {
      const value = await work();
      this.#end(timer, `${this.paint("green", "✔")} ${title}  ${this.paint("dim", seconds())}`);
      return value;
    } catch (error) {
      this.#end(timer, `${this.paint("red", "✘")} ${title}  ${this.paint("dim", seconds())}`);
      throw error;
    }
  }

  #end(timer: NodeJS.Timeout | undefined, line: string): void {
    clearInterval(timer);
    this.#clear();
    this.#out.write(`${line}\n`);
  }

  #clear(): void {
    if (this.#live) this.#out.write(`\r${String.fromCodePoint(27)}[K`);
  }
}
