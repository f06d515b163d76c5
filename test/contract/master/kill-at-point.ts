/**
 * A master that is killed at one point of its first lease: started as a process of its own by audit.test.ts and
 * used-holds.test.ts. Arguments: the directory, the point ("none" for a master that lives), the key in hex (made by the
 * test), and the file of a release policy if there is one.
 */
import { rig, tinyPillar } from "./rig.ts";

const [directory = "", at = "", hex = "", policy] = process.argv.slice(2);

const { master } = await rig(
  directory,
  {
    openPillar: async () => tinyPillar(Buffer.from(hex, "hex")),
    reached: (point) => {
      if (point === at) process.kill(process.pid, "SIGKILL");
    },
  },
  { auto_accept: true, ...(policy === undefined ? {} : { release_policy: policy }) },
);
console.log(JSON.stringify({ ports: master.ports, fingerprint: master.fingerprint }));
