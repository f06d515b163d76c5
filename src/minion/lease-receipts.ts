import type { Clock } from "../core/clock.ts";
import type { Host } from "../core/host.ts";
import type { Identity } from "../core/identity.ts";
import type { LeasePurpose, UseOutcome } from "../core/lease-purpose.ts";
import type { Logger } from "../core/log.ts";
import { readKernelName } from "../states/devices/block-device.ts";
import { devicesBelow } from "../states/devices/devices-below.ts";
import { signReceipt } from "../wire/lease-signature.ts";
import type { Link } from "./link.ts";
import type { LeaseReceipt } from "./receipts.ts";

/** What receipts of one run need. */
export interface LeaseReceiptsOptions {
  readonly host: Host;
  readonly link: Link;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes a receipt that could not be delivered, one of the same lease only after those before it; must not reject. */
  readonly onLostReceipt: (receipt: LeaseReceipt, error: unknown) => Promise<void> | void;
}

/** A lease whose use has ended and whose key is wiped. */
export interface UsedLease {
  readonly leaseId: string;
  readonly purpose: LeasePurpose;
  /** The device that the key was for, by any of its names. */
  readonly device: string;
  /** When the key was in hand, on the monotonic clock. */
  readonly begunAt: number;
}

/** Tells the master what became of the keys of one run, on the run's own time but not on its way. */
export interface LeaseReceipts {
  /** Sends the receipt of a key's use. */
  readonly used: (lease: UsedLease, outcome: UseOutcome) => void;
  /**
   * The file system on this device has just been mounted: sends a second receipt for each lease of this run that opened or
   * formatted something below it, once a lease. Never throws; where /sys does not tell, that is a warning in the log.
   */
  readonly mounted: (device: string) => void;
  /** Resolves when every receipt is delivered or given up. */
  readonly settle: () => Promise<void>;
}

/** A lease that opened or formatted what may be mounted yet. */
interface Awaited extends UsedLease {
  /** Resolves when its first receipt is delivered (true) or given up. */
  readonly told: Promise<boolean>;
}

const RECEIPT_WAIT_MS = 10_000;

/** Makes the receipts of one run. */
export function createLeaseReceipts(options: LeaseReceiptsOptions): LeaseReceipts {
  const { host, link, identity, clock, log, onLostReceipt } = options;
  const underWay = new Set<Promise<unknown>>();
  // the next lease of the same device for the same purpose takes the place of the one before: what that had opened was closed
  const awaited = new Map<string, Awaited>();
  let looks = Promise.resolve();

  const track = <T>(work: Promise<T>): Promise<T> => {
    const tracked = work.finally(() => underWay.delete(tracked));
    underWay.add(tracked);
    return tracked;
  };

  /** Whether the master has it; otherwise it was handed on. */
  const send = async (receipt: LeaseReceipt): Promise<boolean> => {
    const patience = { waitMs: RECEIPT_WAIT_MS, signal: AbortSignal.any([]) };
    try {
      await link.persist(patience, (live) =>
        live.request("lease.receipt", signReceipt(receipt, identity, live.handshakeHash)),
      );
      return true;
    } catch (error) {
      await onLostReceipt(receipt, error);
      return false;
    }
  };

  const sendMounted = async ({ leaseId, begunAt, told }: Awaited, at: number): Promise<void> => {
    const receipt: LeaseReceipt = { leaseId, outcome: "mounted", wiped: true, tookMs: at - begunAt };
    if (await told) await send(receipt);
    else await onLostReceipt(receipt, new Error("the lease's first receipt is not delivered yet"));
  };

  const findMounted = async (device: string, leases: ReadonlyMap<string, Awaited>, at: number): Promise<void> => {
    try {
      const below = await devicesBelow(host, device);
      for (const [key, lease] of leases) {
        const name = await readKernelName(host, lease.device);
        // an earlier mount may have proven it meanwhile
        if (name === undefined || !below.has(name) || awaited.get(key) !== lease) continue;
        awaited.delete(key);
        void track(sendMounted(lease, at));
      }
    } catch (error) {
      log.warn({ err: error, device }, "cannot tell which leased key is behind a mount: no receipt says mounted");
    }
  };

  return {
    used: (lease, outcome) => {
      const { leaseId, purpose, device, begunAt } = lease;
      const told = track(send({ leaseId, outcome, wiped: true, tookMs: clock.monotonicMs() - begunAt }));
      if (outcome === "opened" || outcome === "formatted") awaited.set(`${purpose} ${device}`, { ...lease, told });
    },
    mounted: (device) => {
      if (awaited.size === 0) return;
      const [leases, at] = [new Map(awaited), clock.monotonicMs()];
      looks = looks.then(() => findMounted(device, leases, at));
      void track(looks);
    },
    settle: async () => {
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}
