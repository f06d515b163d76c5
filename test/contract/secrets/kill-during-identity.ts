import { join } from "node:path";
import { protectAgeIdentity, unprotectAgeIdentity } from "../../../src/master/age-identity-file.ts";
import { asking, replaceIdentity, WORK_FACTOR } from "./replace-identity.ts";

/** Does something with the identity of a directory, and kills itself with SIGKILL at the n-th point it passes. */
const [act = "", directory = "", word = "", dieAt = "0"] = process.argv.slice(2);

const file = join(directory, "age.key");
const acts: string[] = [];
let passed = 0;
const reached = () => {
  passed += 1;
  if (passed === Number(dieAt)) process.kill(process.pid, "SIGKILL");
};
const change = { reached, workFactor: WORK_FACTOR };

using given = await asking(word)();
if (act === "protect") await protectAgeIdentity(file, given, change);
else if (act === "unprotect") await unprotectAgeIdentity(file, asking(word), change);
else await replaceIdentity(directory, word, (each) => acts.push(each), reached);
console.log(JSON.stringify({ passed, acts }));
