import { closeSync, openSync, readSync } from "node:fs";

const PAGE_BYTES = 4096;
const ENTRY_BYTES = 8;
const ENTRIES_A_READ = 4096;
/** Bits 63 and 62 of an entry: in memory, swapped out. They are the two highest of its last byte. */
const IS_THERE = 0xc0;

/** A part of a process's memory, from its first byte to before its last. */
export interface MemoryRange {
  readonly from: number;
  readonly to: number;
}

/**
 * The parts of a range of this process's own memory that have pages, as runs of whole pages. A page that was never touched holds
 * nothing, and reading it would make it: a heap of gigabytes that is reserved and not used would get page tables, and in
 * User-Mode Linux a mapping a page. Where the page map cannot be read it is the whole range. Source: proc_pid_pagemap(5).
 */
export function* presentRanges({ from, to }: MemoryRange): Generator<MemoryRange> {
  let pageMap: number;
  try {
    pageMap = openSync("/proc/self/pagemap", "r");
  } catch {
    yield { from, to };
    return;
  }
  try {
    let begunAt: number | undefined;
    for (const { page, isThere } of pagesOf(pageMap, from / PAGE_BYTES, to / PAGE_BYTES)) {
      if (isThere) begunAt ??= page * PAGE_BYTES;
      else if (begunAt !== undefined) {
        yield { from: begunAt, to: page * PAGE_BYTES };
        begunAt = undefined;
      }
    }
    if (begunAt !== undefined) yield { from: begunAt, to };
  } finally {
    closeSync(pageMap);
  }
}

function* pagesOf(pageMap: number, first: number, end: number): Generator<{ page: number; isThere: boolean }> {
  const buffer = Buffer.alloc(ENTRIES_A_READ * ENTRY_BYTES);
  for (let page = first; page < end;) {
    const wanted = Math.min(ENTRIES_A_READ, end - page);
    const got = Math.floor(readSync(pageMap, buffer, 0, wanted * ENTRY_BYTES, page * ENTRY_BYTES) / ENTRY_BYTES);
    for (let index = 0; index < got; index += 1) {
      yield { page: page + index, isThere: ((buffer[index * ENTRY_BYTES + 7] ?? 0) & IS_THERE) !== 0 };
    }
    // the range is not mapped any more
    if (got < wanted) return;
    page += got;
  }
}
