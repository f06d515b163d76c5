import { describe, expect, test } from "vitest";
import { paintWith } from "../../src/cli/format/paint.ts";
import { isStateRun, stateRunText } from "../../src/cli/format/state-run.ts";
import { returnText } from "../../src/cli/output.ts";
import type { JsonObject } from "../../src/core/json.ts";

const plain = paintWith(false);

const row = (n: number, more: JsonObject): JsonObject => ({
  __run_num__: n,
  __sls__: "luks",
  __state_ran__: true,
  result: true,
  changes: {},
  comment: "already in the correct state",
  start_time: "16:00:47.123456",
  duration: 12.5,
  ...more,
});

const RUN: Record<string, JsonObject> = {
  "mount_|-data mounted_|-/data_|-mounted": row(1, {
    changes: { mounted: { from: false, to: true } },
    comment: "mounted\nkey: leased 16:00:47.1 used 16:00:47.2 wiped 16:00:47.2",
    duration: 1500,
  }),
  "lvm_|-vg0_|-vg0_|-vg_present": row(0, {}),
  "service_|-mariadb_|-mariadb_|-running": row(2, { result: false, comment: "cannot start unit: exit status 1" }),
  "file_|-conf_|-/etc/my.cnf_|-managed": row(3, { result: null, changes: { diff: "--- a\n+++ b\n" }, comment: "" }),
};

const GOLDEN = `db1:
----------
          ID: vg0
    Function: lvm.vg_present
      Result: True
     Comment: already in the correct state
     Started: 16:00:47.123456
    Duration: 12.5 ms
     Changes:   
----------
          ID: data mounted
    Function: mount.mounted
        Name: /data
      Result: True
     Comment: mounted
              key: leased 16:00:47.1 used 16:00:47.2 wiped 16:00:47.2
     Started: 16:00:47.123456
    Duration: 1500 ms
     Changes:   
              ----------
              mounted:
                  ----------
                  from:
                      False
                  to:
                      True
----------
          ID: mariadb
    Function: service.running
      Result: False
     Comment: cannot start unit: exit status 1
     Started: 16:00:47.123456
    Duration: 12.5 ms
     Changes:   
----------
          ID: conf
    Function: file.managed
        Name: /etc/my.cnf
      Result: None
     Comment: 
     Started: 16:00:47.123456
    Duration: 12.5 ms
     Changes:   
              ----------
              diff:
                  --- a
                  +++ b

Summary for db1
------------
Succeeded: 3 (unchanged=1, changed=2)
Failed:    1
------------
Total states run:     4
Total run time:   1.538 s
`;

describe("a state run as text", () => {
  test("has the shape Salt users know", () => {
    expect(stateRunText("db1", RUN, plain)).toBe(GOLDEN);
  });

  test("in colour: green, cyan for changed, yellow for would change, red for failed", () => {
    const lines = stateRunText("db1", RUN, paintWith(true)).split("\n");
    const colourOf = (text: string) => lines.find((line) => line.includes(text))?.slice(0, 5);
    expect(colourOf("ID: vg0")).toBe("\u001b[32m");
    expect(colourOf("ID: data mounted")).toBe("\u001b[36m");
    expect(colourOf("ID: mariadb")).toBe("\u001b[31m");
    expect(colourOf("ID: conf")).toBe("\u001b[33m");
    expect(colourOf("Failed:")).toBe("\u001b[31m");
  });

  test("a run that did not compile is told as Salt tells it", () => {
    const answer = { id: "db1", fun: "state.apply", success: false, data: ['cannot render "luks.sls": line 3'] };
    expect(returnText(answer, plain)).toBe(
      'db1:\n    Data failed to compile:\n----------\n    cannot render "luks.sls": line 3\n',
    );
  });

  test("only what looks like a state run is printed as one", () => {
    expect(isStateRun({})).toBe(false);
    expect(isStateRun({ free: 1 })).toBe(false);
    expect(isStateRun([])).toBe(false);
    expect(isStateRun(RUN)).toBe(true);
  });

  test("rows with missing or odd fields never break the output", () => {
    const odd = { "a_|-b_|-c_|-d": { __run_num__: "x", result: "yes", duration: null, comment: ["x"] } };
    expect(stateRunText("h", odd, plain)).toContain("Result: False");
  });
});
