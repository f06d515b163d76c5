/** `POST /v1/backup`: a copy of the running master's store. */
export interface BackupRequest {
  /** Absolute, on the master's machine. */
  readonly path: string;
  /** Replace a file that is there. */
  readonly force: boolean;
}

/** What a backup holds, read from the file itself. */
export interface BackupReport {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Stored versions of secrets, LUKS headers in escrow, minion keys. */
  readonly secretVersions: number;
  readonly headers: number;
  readonly minionKeys: number;
  /** The last audit record in it, and its hash. */
  readonly audit: { readonly seq: number; readonly hash: string };
  /** Public facts of the master that it belongs to: a restored store is of use with these identities alone. */
  readonly fingerprint: string;
  readonly recipients: readonly string[];
  /** Files and directories that are not in it and must be kept too. */
  readonly keepToo: readonly string[];
}
