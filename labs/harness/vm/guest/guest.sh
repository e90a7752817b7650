#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The guest's first process once the host's files are its root: the file systems that labs look for, then the command.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=/run/xdplab
. $here/settings

port() { # name: the device of a virtio-serial port
	for one in /sys/class/virtio-ports/*; do
		[ "$(cat "$one/name")" != "xdplab.$1" ] || echo "/dev/${one##*/}"
	done
}
exec 9>"$(port control)"
die() {
	echo "xdplab: cannot boot: $*" >/dev/console
	poweroff -f || echo o >/proc/sysrq-trigger
	sleep 60
}

mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin
ln -sf fd/1 /dev/stdout
ln -sf fd/2 /dev/stderr
# What a kernel does not have is not there; the labs find out by themselves.
for kind in bpf:/sys/fs/bpf tracefs:/sys/kernel/tracing debugfs:/sys/kernel/debug cgroup2:/sys/fs/cgroup; do
	mount -t "${kind%%:*}" "${kind%%:*}" "${kind#*:}" 2>/dev/null
done
if [ -n "$MODULES" ]; then # the kernel calls modprobe for links and sockets that it does not know yet
	mkdir -p "/lib/modules/$RELEASE"
	mount --bind "$MODULES" "/lib/modules/$RELEASE" || die "modules in $MODULES"
	# ... and for this device when it is opened, if it has a name; elsewhere udev gives it one at boot
	[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; }
fi
if [ -n "$RESULTS" ]; then
	mount -t 9p -o version=9p2000.L,trans=virtio,msize=512000,cache=none results "$RESULTS" || die "results in $RESULTS"
fi
echo xdplab-guest >/proc/sys/kernel/hostname
echo 1 >/proc/sys/kernel/sysrq
ip link set lo up

mkfifo $here/stdout $here/stderr
cat $here/stdout >"$(port stdout)" &
pumps=$!
cat $here/stderr >"$(port stderr)" &
pumps="$pumps $!"

read -r uptime _ </proc/uptime
echo "started $uptime" >&9
while sleep 5; do echo beat >&9; done &
beats=$!

setsid $here/command </dev/null >$here/stdout 2>$here/stderr 9>&-
code=$?
{ sleep 5; kill $pumps; } 2>/dev/null & # a daemon that the command left may hold its output open for ever
# shellcheck disable=SC2086 # a list of numbers
wait $pumps
kill $beats
read -r uptime _ </proc/uptime
sync
echo "ended $code $uptime" >&9
poweroff -f 2>/dev/null || echo o >/proc/sysrq-trigger
sleep 60
