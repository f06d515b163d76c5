/** The one door to zod: schemas of messages, configuration files and state parameters are all written with this `z`. */
export * as z from "./schema-kinds.ts";
