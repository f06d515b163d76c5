import type { ConfigError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import { globMatcher } from "./glob.ts";
import type { Argument, Declaration, SlsFile } from "./high.ts";
import { isRequisiteWord } from "./keywords.ts";
import { configErrorAt } from "./located-error.ts";
import { didYouMean } from "./nearest.ts";

/** Requisite lists grow; every other argument is replaced where it stands, or added. */
function extendArgs(args: readonly Argument[], extra: readonly Argument[]): readonly Argument[] {
  const result = [...args];
  for (const argument of extra) {
    const at = result.findIndex(({ key }) => key === argument.key);
    const old = result[at];
    if (!old) result.push(argument);
    else if (isRequisiteWord(argument.key) && Array.isArray(old.value) && Array.isArray(argument.value)) {
      const value = [...(old.value as readonly Json[]), ...(argument.value as readonly Json[])];
      result[at] = { ...old, value };
    } else result[at] = argument;
  }
  return result;
}

function conflict(first: Declaration, second: Declaration): ConfigError {
  return configErrorAt(
    "duplicate-id",
    `id "${second.id}" is in SLS "${first.sls}" and in SLS "${second.sls}": ids must be unique`,
    second,
    second.id,
  );
}

/**
 * Joins the files of a run into one list of declarations, in order: refuses an id that two files declare, applies
 * `extend` (an id that is not there is an error), and takes out what `exclude` names.
 */
export function mergeFiles(files: readonly SlsFile[]): {
  readonly declarations: readonly Declaration[];
  readonly errors: readonly ConfigError[];
} {
  const errors: ConfigError[] = [];
  const byId = new Map<string, Declaration[]>();
  for (const declaration of files.flatMap((file) => file.declarations)) {
    const known = byId.get(declaration.id);
    const first = known?.[0];
    if (first && first.sls !== declaration.sls) errors.push(conflict(first, declaration));
    else if (known) known.push(declaration);
    else byId.set(declaration.id, [declaration]);
  }
  for (const extension of files.flatMap((file) => file.extends)) {
    const declared = byId.get(extension.id);
    if (!declared) {
      const why = `cannot extend id "${extension.id}": no such id${didYouMean(extension.id, [...byId.keys()])}`;
      errors.push(
        configErrorAt("extend-missing", why, extension, extension.id, {
          hint: "include the SLS that declares it",
        }),
      );
      continue;
    }
    const at = declared.findIndex(({ state }) => state === extension.state);
    const old = declared[at];
    if (old) {
      const fun = extension.fun === "" ? old.fun : extension.fun;
      declared[at] = { ...old, fun, args: extendArgs(old.args, extension.args) };
    } else if (extension.fun === "") {
      const why = `cannot extend "${extension.state}" of id "${extension.id}": it declares no function for it`;
      errors.push(configErrorAt("extend-missing", why, extension, extension.id));
    } else declared.push({ ...extension, sls: declared[0]?.sls ?? extension.sls });
  }
  const excludes = files.flatMap((file) => file.excludes);
  const outs = excludes.map(({ kind, name }) => ({ kind, matches: globMatcher(name) }));
  const declarations = [...byId.values()].flat();
  return {
    declarations: declarations.filter(
      ({ id, sls }) => !outs.some(({ kind, matches }) => matches(kind === "id" ? id : sls)),
    ),
    errors,
  };
}
