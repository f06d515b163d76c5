import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";

/** Functions whose return says that a host has rotated: one that it goes on with by itself counts as well. */
export function isRotation(fun: string): boolean {
  return fun === "volume.rotate" || fun === "volume.rotate_resume";
}

/** Names of the volumes that failed, by what a host returned. */
export function failedIn(data: JsonObject): readonly string[] {
  return Object.entries(data).flatMap(([name, outcome]) =>
    isJsonObject(outcome) && outcome["result"] !== true ? [name] : [],
  );
}

/** What a host said of the volumes that failed, in one line. */
export function reasonOf(data: Json): string {
  const textOf = (value: Json | undefined) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));
  const failed = isJsonObject(data)
    ? Object.entries(data).flatMap(([name, outcome]) =>
        isJsonObject(outcome) && outcome["result"] !== true ? `${name}: ${textOf(outcome["comment"])}` : [],
      )
    : [textOf(data)];
  return failed.join("; ").replaceAll("\n", " ").slice(0, 500);
}
