#!/bin/bash
# First process of a guest that shows whether a kernel can be used: its root is this machine's own, read-only. What the
# tests and the lab live on has to work: Node, many processes, a device that encrypts. NODE and MODULES come from the
# kernel's command line. The last line that it prints is the verdict.
exec </dev/null 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DM_DISABLE_UDEV=1 HOME=/run TMPDIR=/run

fail() {
  echo "kernel-check: $1 failed"
  halt -fp
}

mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t tmpfs run /run || fail "mounting"
mountpoint -q /dev || mount -t devtmpfs dev /dev || fail "mounting /dev"
# a module may ask for others by itself
printf '#!/bin/sh\nexec /sbin/modprobe -d "%s" "$@"\n' "$MODULES" >/run/modprobe && chmod 0755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe || fail "setting modprobe"
for module in loop dm-mod dm-crypt xts; do modprobe -d "$MODULES" "$module" || fail "modprobe $module"; done

for _ in 1 2; do
  said=$("$NODE" -e 'require("node:fs/promises").readFile("/proc/uptime").then(() => console.log(6 * 7))') || fail "Node"
  [[ $said == 42 ]] || fail "Node's answer $said"
done
"$NODE" -e 'const { spawnSync } = require("child_process");
  for (let n = 0; n < 50; n++) if (String(spawnSync("/bin/echo", [n]).stdout).trim() !== String(n)) process.exit(1);' ||
  fail "starting fifty processes"

mkdir -p /run/cryptsetup /run/lock
head -c 4194304 /dev/zero >/run/disk && head -c 1048576 /dev/urandom >/run/data && head -c 64 /dev/urandom >/run/key
device=$(losetup --find --show /run/disk) || fail "losetup"
open() { cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file /run/key "$device" check; }
open || fail "opening an encrypted device"
dd if=/run/data of=/dev/mapper/check bs=64k conv=fsync status=none || fail "writing to an encrypted device"
cryptsetup close check || fail "closing an encrypted device"
cmp -s -n 1048576 /run/data /run/disk && fail "encrypting"
open || fail "opening an encrypted device again"
cmp -n 1048576 /run/data /dev/mapper/check || fail "reading back from an encrypted device"
cryptsetup close check || fail "closing an encrypted device again"
echo "kernel-check: passed"
halt -fp
