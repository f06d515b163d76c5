import { sha256 } from "../../core/crypto/hash.ts";
import { AuthError, ConfigError } from "../../core/errors.ts";
import { isStatementSigned, OPERATOR_NAME, type OperatorStatement } from "../../core/operator-statement.ts";
import { z } from "../../core/schema.ts";
import { decodeRecord, putRecord } from "../store/record.ts";
import type { Store } from "../store/store.ts";
import type { Journal } from "./journal.ts";

const operatorSchema = z.object({
  name: z.string().regex(OPERATOR_NAME),
  /** Ed25519, base64. */
  publicKey: z.string(),
  addedAt: z.number(),
});
/** Somebody who may approve, known by their key. */
export type Operator = z.infer<typeof operatorSchema>;

const PREFIX = "release/operator/";
/** Whoever opens the control socket; counts as an operator only while there are no others. */
export const ROOT = "root";

/** The operators that this master believes. */
export class Operators {
  readonly #operators = new Map<string, Operator>();
  readonly #journal: Journal;

  private constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Reads what the store knows. */
  static async load(store: Store, journal: Journal): Promise<Operators> {
    const operators = new Operators(journal);
    for (const entry of await store.list(PREFIX)) {
      const operator = decodeRecord(operatorSchema, entry);
      operators.#operators.set(operator.name, operator);
    }
    return operators;
  }

  list(): readonly Operator[] {
    return [...this.#operators.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** What an approval remembers of the key that gave it: another key under the same name is another operator. */
  keyId(name: string): string | undefined {
    if (name === ROOT) return this.#operators.size === 0 ? ROOT : undefined;
    const operator = this.#operators.get(name);
    return operator && sha256(Buffer.from(operator.publicKey, "base64")).toString("hex");
  }

  /** Registers a key. Throws ConfigError `operator-exists` for a name or a key that is taken. */
  async add(name: string, publicKey: Uint8Array, now: number): Promise<Operator> {
    if (!OPERATOR_NAME.test(name)) {
      throw new ConfigError("bad-operator", `cannot add operator "${name}"`, {
        hint: "a name is up to 32 lower case letters, digits, dot, dash and underscore; not root, not master",
      });
    }
    const encoded = Buffer.from(publicKey).toString("base64");
    const other = this.list().find((known) => known.name === name || known.publicKey === encoded);
    if (other) {
      const what = other.name === name ? "the name is taken" : `the key is that of "${other.name}"`;
      throw new ConfigError("operator-exists", `cannot add operator "${name}": ${what}`);
    }
    const operator = { name, publicKey: encoded, addedAt: now };
    const data = { publicKey: encoded };
    await this.#journal({ kind: "operator-added", actor: ROOT, subject: name, data }, [
      putRecord(PREFIX + name, operator),
    ]);
    this.#operators.set(name, operator);
    return operator;
  }

  /** Strikes an operator; approvals of theirs that were not used yet are void. Throws ConfigError `no-such-operator`. */
  async remove(name: string): Promise<void> {
    if (!this.#operators.has(name)) throw new ConfigError("no-such-operator", `cannot remove operator "${name}"`);
    // void at once, whatever becomes of the write
    const operator = this.#operators.get(name);
    this.#operators.delete(name);
    try {
      await this.#journal({ kind: "operator-removed", actor: ROOT, subject: name, data: {} }, [
        { op: "delete", key: PREFIX + name },
      ]);
    } catch (error) {
      if (operator) this.#operators.set(name, operator);
      throw error;
    }
  }

  /**
   * Throws AuthError `bad-approval` unless the statement is signed by the key of the operator that it names, for this
   * moment. Without a signature it must name root, while there are no operators.
   */
  verify(statement: OperatorStatement, signature: string | undefined, now: number, mostMs: number) {
    const refuse = (why: string, hint?: string) =>
      new AuthError("bad-approval", `cannot take this from "${statement.operator}": ${why}`, hint ? { hint } : {});
    if (statement.expires <= now) throw refuse("it has expired");
    if (statement.expires > now + mostMs) throw refuse("it would be valid for too long");
    if (statement.operator === ROOT && signature === undefined) {
      if (this.#operators.size === 0) return;
      throw refuse("operators are registered, so one of them must sign", "add --operator NAME and --key FILE");
    }
    const operator = this.#operators.get(statement.operator);
    if (!operator) throw refuse("no such operator is registered", "see `latchkey operator list`");
    if (!isStatementSigned(statement, Buffer.from(operator.publicKey, "base64"), signature ?? "")) {
      throw refuse("the signature is not by their key over this");
    }
  }
}
