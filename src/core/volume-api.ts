import type { VolumeReport } from "./volume-report.ts";

/** A volume as the master last heard of it. */
export interface VolumeEntry extends VolumeReport {
  readonly id: string;
  /** When the master got the report, milliseconds since the epoch. */
  readonly heardAt: number;
}

/** `GET /v1/volumes` (query `minion` for one host's): every volume that a host has reported. */
export interface VolumeList {
  readonly volumes: readonly (VolumeEntry & {
    /** When a key of it was last released to its host, milliseconds since the epoch; 0 when that is not known any more. */
    readonly lastLeaseAt: number;
  })[];
}

/** The last rotation of one volume's key. */
export interface RotationEntry {
  readonly id: string;
  readonly path: string;
  readonly volume: string;
  readonly luksUuid: string;
  /** Version before and after. */
  readonly from: number;
  readonly to: number;
  /** `pending`: minted, not proven. `committed`: proven and current, the old slot is still there. */
  readonly state: "pending" | "committed" | "done" | "reverting" | "rolled-back";
  readonly keepOld: boolean;
  readonly slot: number;
  readonly begunAt: number;
  readonly changedAt: number;
}

/** `GET /v1/rotations` (query `minion` for one host's): the last rotation of every key that ever was rotated. */
export interface RotationList {
  readonly rotations: readonly RotationEntry[];
}

/** `POST /v1/volumes/passphrase`: a recovery passphrase for one minion, armored age to the master alone. */
export interface PassphraseOffer {
  readonly id: string;
  readonly armored: string;
}

/** Under which ticket the minion may fetch it, once, within five minutes. */
export interface PassphraseHeld {
  readonly ticket: string;
}

/** A host in a campaign. `offline`: not there when its turn came; it rotates in its next startup run. */
export interface CampaignHost {
  readonly id: string;
  readonly state: "waiting" | "running" | "done" | "failed" | "offline" | "skipped";
  readonly reason: string;
}

/** A rotation of many hosts, batch after batch. */
export interface CampaignEntry {
  readonly id: string;
  readonly startedAt: number;
  /** Milliseconds since the epoch; nothing is begun after it. */
  readonly deadline: number;
  /** As it was asked for: `10%`, `5`. */
  readonly batch: string;
  /** Hosts at once. */
  readonly batchSize: number;
  /** It stops when so many hosts have failed. */
  readonly maxFailures: number;
  readonly keepOld: boolean;
  /** Names of volumes; empty for all whose key the master makes. */
  readonly volumes: readonly string[];
  readonly state: "running" | "done" | "stopped" | "expired";
  readonly reason: string;
  readonly hosts: readonly CampaignHost[];
}

/** `POST /v1/campaigns`: begins one, answered by its CampaignEntry; 409 while another runs. */
export interface CampaignRequest {
  readonly target: { readonly kind: "glob" | "list" | "grain"; readonly expr: string };
  readonly volumes: readonly string[];
  readonly batch: string;
  readonly maxFailures: number;
  readonly deadlineMs: number;
  readonly keepOld: boolean;
}

/** `GET /v1/campaigns`: newest last. `POST /v1/campaigns/stop` ends the one that runs, after its batch. */
export interface CampaignList {
  readonly campaigns: readonly CampaignEntry[];
}

/** A final erase of a volume, and who approved it so far. */
export interface ErasureEntry {
  readonly erasure: string;
  readonly id: string;
  readonly volume: string;
  readonly luksUuid: string;
  /** Who asked. */
  readonly by: string;
  readonly expires: number;
  readonly state: "asked" | "destroying" | "done";
  readonly approvals: readonly string[];
  readonly needed: number;
  /** Fingerprint of the master, its clock, and the longest life of an approval in milliseconds. */
  readonly master: string;
  readonly now: number;
  readonly approvalMs: number;
}

/** A final erase that was decided and cannot be carried through yet; the master tries again. */
export interface StuckErasure {
  readonly id: string;
  readonly volume: string;
  readonly reason: string;
}

/** `GET /v1/erasures` */
export interface ErasureList {
  readonly erasures: readonly ErasureEntry[];
}
