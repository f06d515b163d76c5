/** What a function threw, undefined when it returned: for properties that any error must have. */
export function thrownBy(act: () => unknown): unknown {
  try {
    act();
    return undefined;
  } catch (error) {
    return error;
  }
}
