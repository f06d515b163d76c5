import { afterAll, beforeAll, expect, test } from "vitest";
import type { VolumeOperation, VolumeStep } from "../../src/core/volume-steps.ts";
import { readyKernel } from "../kernel/guest.ts";
import { PowerChain } from "../kernel/support/matrix/power-chain.ts";
import { operationOf, stepsOf } from "../kernel/support/matrix/scenario.ts";

// The third victim of the kill matrix: the host's power goes at every step that the code lists. The next boot proves that the
// volume opens with a leased key and that its files are whole, takes the operation up, and is cut one step further. Two
// hosts live through it beside each other; each test waits for its own cell.
const CHAINS: readonly (readonly VolumeOperation[])[] = [
  ["provision", "unprovision"],
  ["rotate", "header", "grow"],
];

let chains: readonly PowerChain[] = [];

beforeAll(async () => {
  const kernel = await readyKernel();
  chains = await Promise.all(CHAINS.map((operations) => PowerChain.start(kernel, operations)));
});

afterAll(async () => {
  await Promise.all(chains.map((chain) => chain.dispose()));
  const survived = chains.flatMap((chain) => chain.survived);
  const rows = CHAINS.flat().map((operation) => {
    const count = survived.filter((step) => operationOf(step) === operation).length;
    return `  ${operation.padEnd(12)}${String(stepsOf(operation).length).padStart(5)}${String(count).padStart(13)}`;
  });
  const compared = chains.reduce((sum, { compared: count }) => sum + count, 0);
  const head = `  ${"operation".padEnd(12)}steps    power cut`;
  console.log(
    ["", `kill matrix: ${survived.length} power cuts survived, ${compared} checksums compared`, head, ...rows].join(
      "\n",
    ),
  );
});

const chainOf = (operation: VolumeOperation): PowerChain => {
  const chain = chains[CHAINS.findIndex((operations) => operations.includes(operation))];
  if (chain === undefined) throw new Error("the chains were not started");
  return chain;
};

const cells: readonly VolumeStep[] = CHAINS.flat().flatMap((operation) => stepsOf(operation));

test.each(cells)("I1, I2, I3: the power goes at %s", async (step) => {
  await expect(chainOf(operationOf(step)).outcome(step)).resolves.toBeUndefined();
});

test("the boots after all those cuts find nothing left to undo", async () => {
  await Promise.all(chains.map((chain) => chain.ended()));
  expect(chains.flatMap((chain) => chain.survived)).toEqual(cells);
});
