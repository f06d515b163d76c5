import { isJsonObject, type Json, type JsonObject, jsonItems } from "./json.ts";
import { z } from "./schema.ts";

/** Any JSON value. Zod's own is a union that tells of every fault of every item, which takes seconds for one bad message. */
export const jsonSchema: z.ZodType<Json> = z.custom<Json>((value) => jsonItems(value) !== undefined, "expected JSON");

/** Any JSON object, with as little work. */
export const jsonObjectSchema: z.ZodType<JsonObject> = z.custom<JsonObject>(
  (value) => isJsonObject(value) && jsonItems(value) !== undefined,
  "expected a JSON object",
);
