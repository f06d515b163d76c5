import { expect, test } from "vitest";
import { collectGrains, findFqdn, parseOsRelease } from "../../../src/minion/grains.ts";
import { FakeHost } from "../../fakes/fake-host.ts";

test("grains come from files, without a process", async () => {
  const host = new FakeHost()
    .file("/etc/os-release", 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    .file("/proc/sys/kernel/random/boot_id", "0b00-7\n")
    .file("/proc/cpuinfo", "vendor_id\t: User Mode Linux\nmodel name\t: UML\n");
  const grains = await collectGrains(host, "web1", { role: "db", os: "Own" });
  expect(grains).toMatchObject({
    id: "web1",
    os: "Own",
    os_family: "Debian",
    osrelease: "12",
    osmajorrelease: 12,
    oscodename: "bookworm",
    boot_id: "0b00-7",
    virtual: "uml",
    role: "db",
  });
  expect(host.runs).toEqual([]);
});

test.each([
  ["ID=ubuntu\nID_LIKE=debian", { ID: "ubuntu", ID_LIKE: "debian" }],
  [`NAME='a b'\nX="a \\"b\\""`, { NAME: "a b", X: 'a "b"' }],
])("os-release %j", (text, entries) => {
  expect(parseOsRelease(text)).toEqual(entries);
});

test.each([
  ["web1.example.org", "", "web1.example.org"],
  ["web1", "127.0.1.1 web1.example.org web1 # own\n", "web1.example.org"],
  ["web1", "127.0.0.1 localhost\n", "web1"],
])("the full name of %s", (name, hosts, fqdn) => {
  expect(findFqdn(name, hosts)).toBe(fqdn);
});
