/** What a signature covers: a tag that no other use has, then every field behind its length (4 bytes, big-endian). */
export function signedFields(tag: string, ...values: readonly (string | Uint8Array)[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from(tag, "latin1")];
  for (const value of values) {
    const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}
