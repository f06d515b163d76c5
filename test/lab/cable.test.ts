import { afterEach, beforeEach, expect, test } from "vitest";
import { command } from "../../lab/command.ts";
import { LabNetwork, MASTER_ADDRESS } from "../../lab/network.ts";
import { ownedName } from "../../lab/scratch.ts";

const PORT = 4999;
const HOST_ADDRESS = "10.77.0.200";

let network: LabNetwork;
let host: string;
beforeEach(async () => {
  network = await LabNetwork.create();
  host = ownedName("lklab-");
  await command(["ip", "netns", "add", host]);
  await inMaster("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "eth0", "netns", host);
  await inMaster("ip", "link", "set", "cable0", "master", "br0", "up");
  await inHost("ip", "address", "add", `${HOST_ADDRESS}/24`, "dev", "eth0");
  await inHost("ip", "link", "set", "eth0", "up");
});
afterEach(async () => {
  await command(["ip", "netns", "delete", host], { okCodes: [0, 1, 255] });
  await network.destroy();
});

const inMaster = (...argv: readonly string[]) => command([...network.prefix, ...argv]);
const inHost = (...argv: readonly string[]) => command(["ip", "netns", "exec", host, ...argv]);

/** Listens on UDP until something comes or a second is over, and prints what came and from where. */
const listen = (address: string) => `const s = require("node:dgram").createSocket("udp4");
s.bind(${PORT}, "${address}", () => {
  const timer = setTimeout(() => s.close(), 1000);
  s.once("message", (text, from) => { process.stdout.write(text + " from " + from.address); clearTimeout(timer); s.close(); });
});`;

/** Says one word a few times: the first may be what the neighbour's address is asked for with. */
const say = (address: string) => `const s = require("node:dgram").createSocket("udp4");
let left = 5;
const timer = setInterval(() => {
  s.send("hello", ${PORT}, "${address}", () => { left -= 1; if (left === 0) { clearInterval(timer); s.close(); } });
}, 100);`;

const heardAtMaster = async () => {
  const [heard] = await Promise.all([
    inMaster(process.execPath, "-e", listen(MASTER_ADDRESS)),
    inHost(process.execPath, "-e", say(MASTER_ADDRESS)),
  ]);
  return heard.stdout;
};

const heardAtHost = async () => {
  const [heard] = await Promise.all([
    inHost(process.execPath, "-e", listen(HOST_ADDRESS)),
    inMaster(process.execPath, "-e", say(HOST_ADDRESS)),
  ]);
  return heard.stdout;
};

test("a cable that is out lets nothing through, in neither direction", async () => {
  expect(await heardAtMaster()).toBe(`hello from ${HOST_ADDRESS}`);
  expect(await heardAtHost()).toBe(`hello from ${MASTER_ADDRESS}`);
  await network.disconnect("cable0");
  expect(await heardAtMaster()).toBe("");
  expect(await heardAtHost()).toBe("");
  await network.reconnect("cable0");
  expect(await heardAtMaster()).toBe(`hello from ${HOST_ADDRESS}`);
});
