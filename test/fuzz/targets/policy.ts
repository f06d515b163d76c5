import { ConfigError } from "../../../src/core/errors.ts";
import { compileValidator, type ExpressionContext } from "../../../src/master/policy/expression.ts";
import { readPolicy } from "../../../src/master/release/policy-file.ts";
import { promise, type Target } from "../target.ts";

const context: ExpressionContext = {
  instance: { name: "web1", address: "10.0.0.1", nodegroups: ["web"] },
  claims: { grains: { os: "Debian", list: [1, "a", null], map: { k: true } }, tooLarge: ["huge"] },
  request: {
    secret: "a:b",
    purpose: "open",
    time: Date.UTC(2026, 0),
    newBoot: true,
    leasesInDay: 3,
    approvals: ["ann"],
  },
};

const RULES = `rules:
  - name: office
    match:
      hosts: "web*"
      networks: [10.0.0.0/8, "2001:db8::/32"]
      when: { days: [mon], from: "08:00", to: "18:00", zone: UTC }
      validator: instance.name == "web1"
    verdict: allow
    require: { once_a_boot: true, liveness: 90s, approvals: { count: 1, of: [ann] } }
`;

/** The first byte says whether the rest is one expression or a whole file of rules. */
const expression = (text: string) => `e${text}`;

export const target: Target = {
  covers: [
    "src/master/policy/expression.ts",
    "src/master/policy/linear-regex.ts",
    "src/master/policy/rules.ts",
    "src/master/policy/network.ts",
    "src/master/policy/time-window.ts",
    "src/master/release/policy-file.ts",
  ],
  maxBytes: 1500,
  refusals: [ConfigError],
  dictionary: [
    "instance.",
    "request.",
    "grains",
    ".matches('",
    ".exists(x, ",
    ".all(x, ",
    ".map(x, ",
    ".filter(x, ",
    "has(",
    "size(",
    "timestamp(",
    "duration(",
    "b'",
    "r'",
    "u",
    " in ",
    " ? ",
    " : ",
    "&&",
    "||",
    "(a+)+$",
    "[[:alpha:]]",
    "\\p{L}",
    "{1000}",
    "__proto__",
    "constructor",
    "9223372036854775807",
    "1e999",
  ],
  seeds: () => [
    RULES,
    "rules: []\nsigned_pushes: true\nnodegroups: { web: ['web*'] }\n",
    expression('instance.name == "web1" && request.leasesInDay < 5'),
    expression("instance.grains.os.matches('^Deb(ian)?$')"),
    expression("request.time.getHours('UTC') > 5 || 'ann' in request.approvals"),
    expression("instance.nodegroups.exists(g, g.startsWith('w')) ? true : has(instance.grains.huge)"),
    expression("size(instance.grains.list) == 3 && instance.grains.list.all(x, type(x) != int || x > 0)"),
    expression("instance.grains.huge == 1"),
  ],
  decode: (bytes) => {
    const text = bytes.toString("utf8");
    if (!text.startsWith("e")) {
      readPolicy(text, "release.yaml");
      return;
    }
    const judgement = compileValidator(text.slice(1)).evaluate(context);
    const isBoolean = "holds" in judgement && typeof judgement.holds === "boolean";
    promise("an expression holds, does not, or has a problem", isBoolean || "problem" in judgement);
  },
};
