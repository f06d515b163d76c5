import { ConfigError } from "../../../src/core/errors.ts";
import { renderSlsLines } from "../../../src/sls/render.ts";
import { promise, type Target } from "../target.ts";

const context = {
  id: "web1",
  grains: { os: "Debian", a: { b: [1] } },
  pillar: { name: "x", list: ["one"], empty: [], none: null, volumes: { data: { mount: { point: "/d" } } } },
};

export const target: Target = {
  covers: ["src/sls/render.ts", "src/sls/template-helpers.ts", "src/sls/line-marks.ts", "src/sls/located-error.ts"],
  // whoever writes templates may let them grow: loops inside of loops are theirs to choose
  maxBytes: 300,
  refusals: [ConfigError],
  dictionary: [
    "{{",
    "}}",
    "{{{",
    "}}}",
    "{{#",
    "{{/",
    "{{else}}",
    "{{!--",
    "--}}",
    "{{~",
    "~}}",
    "{{>",
    "{{*",
    "../",
    "this",
    "@index",
    "@root",
    "__proto__",
    "constructor",
    "pillar.list",
    "(",
    ")",
    "=",
    "|",
    "as |x|",
    '"a:b"',
  ],
  seeds: () => [
    "a: {{id}}\nb: {{pillar.name}}\n",
    "{{#each pillar.list}}- {{this}}\n{{else}}none\n{{/each}}",
    '{{#if (eq grains.os "Debian")}}x{{else}}y{{/if}}',
    '{{default pillar.gone "x"}} {{json pillar}} {{join (split "a,b" ",") "-"}}',
    '{{pillar "volumes:data:mount:point"}} {{volume_order pillar.volumes}} {{length pillar.list}}',
    "{{#with grains}}{{os}}{{@root.id}}{{/with}}{{#raw}}{{lookup grains 'os'}}{{/raw}}",
    "{{{upper (concat id 'a')}}} {{!-- no --}} {{#unless pillar.empty}}n{{/unless}}",
  ],
  decode: (bytes) => {
    const { rendered: text } = renderSlsLines(bytes.toString("utf8"), "file.sls", context);
    promise("no function is printed", !text.includes("[native code]"));
  },
};
