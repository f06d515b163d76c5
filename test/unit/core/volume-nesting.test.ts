import { expect, test } from "vitest";
import { outerFirst, placeInside } from "../../../src/core/volume-nesting.ts";

const at = (name: string, point?: string, file?: string) => ({
  name,
  ...(point === undefined ? {} : { mount: { point } }),
  ...(file === undefined ? {} : { loop: { file } }),
});
const app = at("app", "/srv/data/app");
const data = at("data", "/srv/data");
const vault = at("vault", "/srv/vault", "/srv/data/v.img");
const deep = at("deep", "/srv/vault/deep");
const plain = at("plain");

test.each([
  ["a mount point", [app, data], "data app"],
  ["a loop file", [vault, data], "data vault"],
  ["through another's loop file", [deep, vault, data], "data vault deep"],
  ["nothing: as given", [plain, vault, app], "plain vault app"],
  ["a name that only begins alike", [at("b", "/srv/data2"), data], "b data"],
  ["a slash at the end, and doubled", [app, at("data", "//srv/data/")], "data app"],
  ["the root directory", [data, at("root", "/")], "root data"],
  ["in itself", [at("self", "/srv/self", "/srv/self/x.img"), data], "self data"],
  ["in a circle", [at("a", "/a", "/b/x"), at("b", "/b", "/a/x")], "b a"],
])("I9: outer volumes come up first: %s", (_what, volumes, wanted) => {
  const names = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name).join(" ");
  expect(names(outerFirst(volumes))).toBe(wanted);
});

test("what lies inside is named", () => {
  expect(placeInside(vault, data)).toBe("/srv/data/v.img");
  expect(placeInside(app, data)).toBe("/srv/data/app");
  expect(placeInside(data, app)).toBeUndefined();
  expect(placeInside(data, plain)).toBeUndefined();
});
