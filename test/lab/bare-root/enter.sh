#!/bin/sh
# enter.sh BASE RUN CACHE COMMAND…: runs the command in a copy-on-write layer (RUN) over a bare Debian root (BASE). Started
# in mount and process namespaces of its own, of which it is the first process: they end with it, and all that is in them.
set -eu
base=$1 run=$2 cache=$3
shift 3
mount --make-rprivate /
mkdir -p "$run/upper" "$run/work" "$run/root"
mount -t overlay bare-root -o "lowerdir=$base,upperdir=$run/upper,workdir=$run/work" "$run/root"
cd "$run/root"

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/shm dev/pts
for node in null zero full random urandom tty net/tun; do
  touch "dev/$node"
  mount --bind "/dev/$node" "dev/$node"
done
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run

# The image and the kernel of guests, which no package list of this root decides on: making them again costs minutes. At the
# same path, since the kernel names the C library beside it by that.
mkdir -p ".$cache"
mount --bind "$cache" ".$cache"

chroot . "$@"
