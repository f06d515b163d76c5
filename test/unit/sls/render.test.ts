import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ConfigError } from "../../../src/core/errors.ts";
import { thrownBy } from "../thrown-by.ts";
import { renderTemplate } from "../../../src/sls/render.ts";

const VOLUMES = { app: { mount: { point: "/srv/d/app" } }, log: {}, d: { mount: { point: "/srv/d" } } };
const context = {
  id: "m1",
  grains: { os: "Debian" },
  pillar: { a: { b: 1 }, empty: null, list: [1, 2], text: "x <y>", volumes: VOLUMES },
};
const render = (text: string) => renderTemplate(text, "dir/f.sls", context);

test.each([
  ["no template at all }} {", "no template at all }} {"],
  ["{{pillar.a.b}} {{id}}", "1 m1"],
  ["{{pillar.text}}", "x <y>"],
  ["{{pillar.list}}", "[1,2]"],
  ['{{pillar "a:b"}} {{pillar "a:q" "z"}}', "1 z"],
  ['{{default pillar.empty "z"}}{{default pillar.no.such "y"}}', "zy"],
  ["{{#if pillar.no.such}}y{{else}}n{{/if}}", "n"],
  ['{{#if (eq grains.os "Debian")}}deb{{/if}}', "deb"],
  ["{{#each pillar.list}}{{@index}}:{{this}} {{../id}};{{/each}}", "0:1 m1;1:2 m1;"],
  ["{{#each (volume_order pillar.volumes)}}{{this}} {{/each}}", "d app log "],
  ["{{#each (volume_order pillar.none)}}{{this}}{{/each}}", ""],
  ["{{{{raw}}}}{{x}}{{{{/raw}}}}", "{{x}}"],
])("%s renders", (text, expected) => {
  expect(render(text)).toBe(expected);
});

test.each([
  ["a missing pillar value", "\n{{pillar.no.such}}", 2, /"pillar.no.such" is missing/u, "{{pillar.no.such}}"],
  ["an empty pillar value", "{{pillar.empty}}", 1, /"pillar.empty" is empty/u, "{{pillar.empty}}"],
  ["a missing salt-like lookup", 'a\nb {{pillar "a:q"}}', 2, /no pillar value "a:q"/u, 'b {{pillar "a:q"}}'],
  ["an unknown helper", "{{defult a b}}", 1, /"defult", did you mean "default"/u, "{{defult a b}}"],
  ["a block that never ends", "a\n{{#if x}}\n\n", 2, /ends too early/u, "{{#if x}}"],
  ["a broken expression", "a\n\n{{pillar.", 3, /ends too early/u, "{{pillar."],
  ["a partial", "{{> x}}", 1, /partials/u, "{{> x}}"],
])("%s is an error with file, line and the offending text", (_what, text, line, message, offending) => {
  const facts = { file: "dir/f.sls", line, text: offending };
  expect(() => render(text)).toThrow(expect.objectContaining({ code: "bad-template", facts }));
  expect(() => render(text)).toThrow(message);
});

test.each([
  "constructor",
  "pillar.constructor",
  "pillar.__proto__",
  "@root.constructor.name",
  "pillar.list.constructor",
])("lesson: 2021-25283 templates are sandboxed: %s is out of reach", (path) => {
  expect(() => render(`{{${path}}}`)).toThrow(ConfigError);
});

test("no template does anything but render or throw ConfigError", () => {
  const pieces = fc.constantFrom(
    ..."{{ }} {{#if {{/if}} {{else}} pillar . a ( ) each # / ../ @ lookup helperMissing {{{{ }}}} ~".split(" "),
    " ",
    "\n",
    `"`,
    "as |x|",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      expect(thrownBy(() => render(parts.join(""))) ?? new ConfigError("", "")).toBeInstanceOf(ConfigError);
    }),
    { numRuns: 500 },
  );
});
