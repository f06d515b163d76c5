import { expect, test } from "vitest";
import type { JobEvent } from "../../../src/core/control-api.ts";
import { JobStream } from "../../../src/master/jobs/stream.ts";

const progress = (id: string, done: number): JobEvent => ({ event: "progress", id, done, total: 9, current: "x" });

test("of a host's progress that nobody has read yet only the last is kept, in its place", async () => {
  const stream = new JobStream();
  stream.push({ event: "ack", id: "web1" });
  for (let done = 0; done < 10_000; done += 1) stream.push(progress(done % 2 === 0 ? "web1" : "web2", done));
  stream.push({ event: "missing", id: "web1", reason: "gone" });
  const reader = stream.read(new AbortController().signal);
  const next = async () => (await reader.next()).value;
  expect([await next(), await next(), await next()]).toEqual([
    { event: "ack", id: "web1" },
    progress("web1", 9998),
    progress("web2", 9999),
  ]);
  // the queue that is being read is another one
  stream.push(progress("web2", 10_001));
  expect([await next(), await next()]).toEqual([
    { event: "missing", id: "web1", reason: "gone" },
    progress("web2", 10_001),
  ]);
});
