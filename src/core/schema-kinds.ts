/**
 * What this project uses of zod, name by name: a bundler leaves out the rest (fifty languages, conversions), which would
 * be two thirds of what a daemon loads before it can connect.
 */
export {
  array,
  base64,
  boolean,
  custom,
  discriminatedUnion,
  enum,
  int,
  ipv4,
  ipv6,
  iso,
  json,
  literal,
  looseObject,
  number,
  object,
  record,
  strictObject,
  string,
  tuple,
  union,
  unknown,
  url,
} from "zod";
export type { core, infer, ZodType } from "zod";
