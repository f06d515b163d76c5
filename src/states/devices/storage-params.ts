import { z } from "../../core/schema.ts";

/** An absolute path without NUL or line breaks. */
export const absolutePath = z.string().regex(/^\/[^\0\n]*$/u, "must be an absolute path");

/** Names of volume groups and logical volumes (lvm(8)): never an option, never a path. */
export const lvmName = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,126}$/u,
    "letters, digits and _ + . - only, not empty, no - first",
  );

/** The name of a device-mapper device below /dev/mapper. */
export const mappingName = z
  .string()
  .regex(/^(?!\.{1,2}$)(?!control$)[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,127}$/u, "letters, digits and _ + . - only");

/** A reference to a secret of the pillar. */
export const secretRef = z.string().regex(/^secret:[^\s\0]+$/u, "must be a secret reference, such as secret:password");

/** A RFC 4122 UUID in lower case. */
export const lowerUuid = z
  .string()
  .regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u, "must be a UUID in lower case");
