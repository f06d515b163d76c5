/**
 * Loads language, states and engine, which an idle minion does without. Once loaded they stay.
 */
export async function loadEngine() {
  const [{ readTop }, { compile }, { runStates, retcodeOf }, { noStates }, { STATES }, { catalogueOf }] =
    await Promise.all([
      import("../sls/top.ts"),
      import("../sls/compile.ts"),
      import("./engine/run.ts"),
      import("./engine/no-states.ts"),
      import("../states/registry.ts"),
      import("../states/validate.ts"),
    ]);
  return { readTop, compile, runStates, retcodeOf, noStates, states: STATES, known: catalogueOf(STATES) };
}
