import { VERSION } from "../core/version.ts";
import { decodeFrame, encodeOpening } from "./frames.ts";
import type { Method, Request, Response } from "./messages.ts";
import { decodeMasterPacket, decodeMinionPacket, encodeRequest, encodeResponse, parseResponse } from "./packets.ts";

const ID = "rehearsal";

function passAlong<M extends Method>(method: M, request: Request<M>, response: Response<M>): void {
  decodeMinionPacket(encodeRequest(1, method, request));
  const packet = decodeMasterPacket(encodeResponse(1, response));
  if (packet.kind === "response") parseResponse(method, packet.body);
}

/**
 * Writes and reads messages of a startup run, so that their code has run once. Leaves out all cryptography: Node keeps
 * native objects for it, which a snapshot of the memory cannot hold.
 */
export function rehearseMessages(): void {
  decodeFrame(Buffer.from(encodeOpening("ik1", ID, new Uint8Array(128))));
  const hello = { version: VERSION, bootId: ID, role: "agent", grains: { id: ID, cpus: 2 }, lastSeq: 0 } as const;
  passAlong("hello", hello, { version: VERSION, now: 0, seq: 0, heartbeatMs: 1 });
  passAlong("pillar", {}, { pillar: { id: ID, list: [1, "two", null] } });
}
