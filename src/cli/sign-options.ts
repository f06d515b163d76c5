import { type Command, Option } from "commander";
import type { Signer } from "./operator-signature.ts";

/** What `withSigner` adds, as commander hands it over. */
export interface SignOptions {
  readonly operator?: string;
  readonly as?: string;
  readonly key?: string;
  readonly passphraseFd?: string;
}

/** Adds the options that say who signs. `--as` is the same as `--operator`. */
export const withSigner = (command: Command): Command =>
  command
    .option("--operator <name>", "sign as this operator, with their key")
    .addOption(new Option("--as <name>", "the same").hideHelp())
    .option("--key <file>", "the operator's key (default ~/.config/latchkey/operator.key)")
    .option("--passphrase-fd <fd>", "read the passphrase of the key from this file descriptor");

export const signerOf = ({ operator, as, key, passphraseFd }: SignOptions): Signer => ({
  as: operator ?? as,
  key,
  passphraseFd,
});
