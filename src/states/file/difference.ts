import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { createTwoFilesPatch } from "diff";
import type { Change } from "../state.ts";

const MAX_DIFF_BYTES = 256 * 1024;
const DIFF_TIMEOUT_MS = 2000;

const digest = (data: Buffer): string => `sha256 ${createHash("sha256").update(data).digest("hex")}`;
const isText = (data: Buffer): boolean => data.length <= MAX_DIFF_BYTES && isUtf8(data) && !data.includes(0);

/**
 * How the content of a file changes: a unified diff of text, hashes of what is binary or large, and not a word of it when
 * `show` is false.
 */
export function contentChange(path: string, from: Buffer, to: Buffer, show: boolean): Change {
  if (!show) return { field: "diff", from: null, to: "<show_changes is false>" };
  const patch =
    isText(from) && isText(to)
      ? createTwoFilesPatch(path, path, from.toString("utf8"), to.toString("utf8"), "", "", {
          context: 3,
          timeout: DIFF_TIMEOUT_MS,
        })
      : undefined;
  if (patch === undefined) return { field: "content", from: digest(from), to: digest(to) };
  // Subversion's head, which names the file a third time
  return { field: "diff", from: null, to: patch.replace(/^(?:Index: .*\n)?=+\n/u, "") };
}
