/** `GET /v1/recipients`: to whom a new secret is encrypted, the master first. */
export interface RecipientList {
  readonly recipients: readonly string[];
}

/** A secret of a host, without its value. */
export interface SecretEntry {
  readonly id: string;
  readonly path: string;
  /** `secret`: encrypted in a pillar file. `generate`: in the store. `kept`: only the store still has it. */
  readonly kind: "secret" | "generate" | "kept";
  /** Where the pillar names it; "" for one that is only kept. */
  readonly file: string;
  readonly line: number;
  /** Stored versions. */
  readonly versions: number;
  /** States of the host's highstate that name it, as `luks.opened data`; null when they do not compile, or none are chosen by a `top.sls`. */
  readonly usedBy: readonly string[] | null;
}

/** `GET /v1/secrets?host=<id>`: of one host, or of all. */
export interface SecretList {
  readonly secrets: readonly SecretEntry[];
  /** Hosts whose pillar does not compile, and why. */
  readonly broken: readonly { readonly id: string; readonly reason: string }[];
}

/** `PUT /v1/secrets/:id`: replaces or makes a `!secret` in the host's own file. The value comes encrypted. */
export interface SecretSet {
  readonly path: string;
  /** age, armored, to every recipient of `GET /v1/recipients`. */
  readonly armored: string;
  /** Whom it is encrypted to, as `recipientSetId` names them: refused when they are not the recipients any more. */
  readonly set?: string | undefined;
  /** Do it although a volume would be left without a verified copy of its key. */
  readonly force?: boolean | undefined;
}

/** What became of it. */
export interface SecretChanged {
  readonly file: string;
  readonly warnings: readonly string[];
}

/** `POST /v1/secrets/:id/show`; a number in place of the current value. */
export interface SecretShow {
  readonly path: string;
  readonly version?: number | undefined;
}

/** A value in plain; recorded before it leaves. */
export interface SecretShown {
  /** Base64 of the exact bytes. */
  readonly value: string;
}

/** `GET /v1/secrets/:id/history?path=<path>`: oldest first, never a value. */
export interface SecretHistory {
  readonly versions: readonly {
    readonly version: number;
    readonly origin: "generated" | "imported" | "escrow" | "sealed";
    readonly createdAt: number;
    /** To how many recipients it is encrypted. */
    readonly recipients: number;
    /** Whether a lease would hand out this one; never true of a `!secret`, which is what its file says. */
    readonly current: boolean;
  }[];
}

/** `POST /v1/secrets/:id/import`: moves a `!secret` into the store. */
export interface SecretImport {
  readonly path: string;
  /** Do it although a volume would be left without a verified copy of its key. */
  readonly force?: boolean | undefined;
}

/** The version that has the value now. */
export interface SecretImported extends SecretChanged {
  readonly version: number;
}

/** `GET /v1/identity`: the master's own age identity. */
export interface IdentityFacts {
  readonly recipient: string;
  /** Those that it replaced and that are kept until the operator has them destroyed. */
  readonly older: readonly string[];
  /** Whether its file has a passphrase, which replacing it then needs. */
  readonly locked: boolean;
}

/** `POST /v1/identity` (a new one) and `POST /v1/identity/drop` (the older ones are destroyed). */
export interface IdentityRequest {
  /** The passphrase of the file: age, armored, to the first of `GET /v1/recipients`. */
  readonly armored?: string | undefined;
}

/** `POST /v1/identity/drop`: recipients of the identities that are gone. */
export interface IdentityDropped {
  readonly dropped: readonly string[];
}

/** `POST /v1/rekey`: what was encrypted anew, and what was not. */
export interface RekeyReport {
  readonly recipients: readonly string[];
  /** A run that was interrupted was taken up. */
  readonly resumed: boolean;
  /** Stored versions, pillar files and headers in escrow, by name, that were encrypted anew by this run. */
  readonly rekeyed: readonly string[];
  /** How many were right already. */
  readonly already: number;
  /** What could not be done, and why; it is as it was. */
  readonly failed: readonly { readonly name: string; readonly reason: string }[];
  /** Links of the pillar roots that were passed by, and why: no pillar comes from behind them. */
  readonly outside: readonly { readonly name: string; readonly reason: string }[];
}

/** Something that `pillar lint` found. */
export interface LintFinding {
  readonly kind:
    | "broken-pillar"
    | "host-without-pillar"
    | "missing-recipient"
    | "not-encrypted"
    | "not-understood"
    | "older-identity"
    | "plain-key-material"
    | "rekey-unfinished"
    | "secret-by-grain"
    | "shared-tree"
    | "unused-secret";
  /** A minion id, or "" when it is about no single one. */
  readonly id: string;
  readonly file: string;
  /** 0 when it is not known. */
  readonly line: number;
  readonly message: string;
}

/** `GET /v1/lint` */
export interface LintReport {
  readonly findings: readonly LintFinding[];
}
