import type { MasterSide } from "../backing.ts";
import type { Patience } from "../link.ts";

/** UUID of the newest LUKS header that the master has of a volume, one that was removed left out; "" for none. Throws TransportError. */
export async function escrowedUuid({ link }: MasterSide, volume: string, patience: Patience): Promise<string> {
  const { headers } = await link.ask("header.list", { volume }, patience);
  return headers.find(({ forgotten }) => forgotten !== true)?.luksUuid ?? "";
}
