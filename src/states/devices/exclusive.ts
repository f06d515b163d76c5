const running = new Map<string, Promise<void>>();

/**
 * Runs `act` while nothing else in this process acts on the same thing: what formats looks, then writes, and nobody may
 * write in between. Others wait for their turn.
 */
export async function exclusively<T>(thing: string, act: () => Promise<T>): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const before = running.get(thing);
  const mine = (before ?? Promise.resolve()).then(() => promise);
  running.set(thing, mine);
  await before;
  try {
    return await act();
  } finally {
    resolve();
    if (running.get(thing) === mine) running.delete(thing);
  }
}
