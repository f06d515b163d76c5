#!/bin/bash
# First process of the test kernel. Its root is this machine's own, read-only; what it writes is in memory, or in the
# one directory that the runner gave it. PROJECT, EXCHANGE, MODULES and FILES (with commas) come from the kernel's command line.
exec </dev/null
export PATH="$PROJECT/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/run/home TMPDIR=/run/tmp LC_ALL=C
# no udev runs in here: the tools make device nodes themselves
export DM_DISABLE_UDEV=1 LATCHKEY_KERNEL_TESTS=1 CI=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs -o size=1600M,mode=0755 run /run
mkdir -p /run/{cryptsetup,lvm,lock,tmp,home,exchange,etc-lvm}
mount -t hostfs -o "$EXCHANGE" exchange /run/exchange
cp -r /etc/lvm/. /run/etc-lvm && mount --bind /run/etc-lvm /etc/lvm
ip link set lo up

printf '#!/bin/sh\nexec /sbin/modprobe -d "%s" "$@"\n' "$MODULES" >/run/modprobe
chmod 0755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
for module in loop dm-mod dm-crypt xts algif_skcipher; do modprobe -d "$MODULES" "$module"; done 2>/dev/null

# vitest keeps its notes beside the packages, which are read-only here
[ -d "$PROJECT/node_modules/.vite" ] && mount -t tmpfs vite "$PROJECT/node_modules/.vite"
[ -d "$PROJECT/node_modules/.vite-temp" ] && mount -t tmpfs vite "$PROJECT/node_modules/.vite-temp"
cd "$PROJECT" || halt -fp
if [ -n "$SCRIPT" ]; then
  # a bench's script in place of the tests
  node "$SCRIPT" >/run/exchange/output 2>&1
  echo "$?" >/run/exchange/status
  sync
  halt -fp
fi
# shellcheck disable=SC2086
vitest run --project kernel --configLoader runner --no-file-parallelism --pool=threads --no-color \
  --reporter=default --reporter=json --outputFile.json=/run/exchange/results.json ${FILES//,/ }
echo "$?" >/run/exchange/status
sync
halt -fp
