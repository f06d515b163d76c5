#!/bin/sh
# First process of a lab host: takes its name and address from the kernel command line, lays the injected files over the
# root file system, and hands over to systemd. Everything here would be the installer's work on a real host.
set -u
# not /usr/local: a power cut may have left half of what an earlier boot laid there
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
read -r cmdline </proc/cmdline
name=lab address='' share=''
for word in $cmdline; do
  case $word in
    lab.name=*) name=${word#*=} ;;
    lab.address=*) address=${word#*=} ;;
    lab.share=*) share=${word#*=} ;;
  esac
done
echo "$name" >/etc/hostname
mount -t hostfs -o "$share" none /lab
cp -a /lab/inject/. /
[ ! -b /dev/ubdc ] || mount -t ext4 -o ro /dev/ubdc /opt/latchkey
ip -batch - <<END
link set lo up
address add $address dev vec0
link set vec0 up
END
exec /lib/systemd/systemd
