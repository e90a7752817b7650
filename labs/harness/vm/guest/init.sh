#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The guest's first process, from the initramfs: modules, then the host's root file system below a writable layer.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 'xdplab: alive' >/dev/console
[ -f /errand/command ] || exec busybox poweroff -f

die() {
	echo "xdplab: cannot boot: $*" >/dev/console
	exec busybox poweroff -f
}

for module in /modules/*.ko; do
	[ ! -f "$module" ] || insmod "$module" || die "insmod ${module##*/}"
done
# loose: nobody else writes there while the guest runs, so what was read once need not be asked again
mount -t 9p -o ro,version=9p2000.L,trans=virtio,msize=512000,cache=loose root /lower || die 'mount the host root'
mount -t tmpfs -o size=50% upper /upper && mkdir /upper/files /upper/work || die 'tmpfs'
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /root || die 'overlay'
for place in proc sys dev; do
	mount --move /$place /root/$place || die "$place"
done
mount -t tmpfs run /root/run && mkdir /root/run/xdplab && cp /errand/* /root/run/xdplab/ || die 'run'
exec switch_root /root /bin/sh /run/xdplab/guest
