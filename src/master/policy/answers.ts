import { contextOf, type ExpressionContext, type Judge, type Judgement } from "./expression.ts";
import type { ReleaseFacts } from "./facts.ts";

/** One expression over what it sees. Equal contexts of several are one object. */
export interface Ask {
  readonly text: string;
  readonly context: ExpressionContext;
}

/** Evaluates expressions for a host: as many answers as were asked for, in their order. Never rejects. */
export type Evaluate = (host: string, asks: readonly Ask[]) => Promise<readonly Judgement[]>;

/** How often facts may change while their expressions are evaluated. */
const MAX_ROUNDS = 4;

/**
 * What expressions came to for one request. A decision is made at once, and expressions are evaluated elsewhere: so those that
 * it needs are asked for first, and again when the facts are others by then.
 */
export class Answers {
  readonly #host: string;
  readonly #evaluate: Evaluate;
  readonly #known = new Map<string, Judgement>();
  readonly #missing = new Map<string, Ask>();
  readonly #contexts = new Map<string, ExpressionContext>();
  #rounds = 0;

  constructor(host: string, evaluate: Evaluate) {
    this.#host = host;
    this.#evaluate = evaluate;
  }

  /** What an expression came to; one that was not evaluated over these facts has a problem, and is asked for next. */
  readonly judge: Judge = ({ text }, facts) => {
    const { key, context } = this.#contextOf(facts);
    const place = `${text}\n${key}`;
    const answer = this.#known.get(place);
    if (answer) return answer;
    this.#missing.set(place, { text, context });
    return { problem: "the facts changed while they were looked at" };
  };

  /** Whether something was asked for that is to be evaluated. */
  get isWanting(): boolean {
    return this.#missing.size > 0 && this.#rounds < MAX_ROUNDS;
  }

  /** Evaluates what was asked for and is not known, in one go. */
  async fetch(): Promise<void> {
    this.#rounds += 1;
    const missing = [...this.#missing];
    this.#missing.clear();
    const answers = await this.#evaluate(
      this.#host,
      missing.map(([, ask]) => ask),
    );
    for (const [index, [place]] of missing.entries()) {
      this.#known.set(place, answers[index] ?? { problem: "it was not evaluated" });
    }
  }

  #contextOf(facts: ReleaseFacts): { readonly key: string; readonly context: ExpressionContext } {
    const { claims, ...rest } = contextOf(facts);
    const key = JSON.stringify(rest);
    const seen = this.#contexts.get(key);
    // claims are the same object while they are the same
    if (seen?.claims === claims) return { key, context: seen };
    if (seen) this.#known.clear();
    const context = { ...rest, claims };
    this.#contexts.set(key, context);
    return { key, context };
  }
}
