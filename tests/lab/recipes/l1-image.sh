#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the disk of a lab host. Runs in a mount namespace of its own, so that nothing stays mounted:
#   l1-image.sh ROOT OUT SETUP PUBKEY [EXTRA]
# ROOT is a Debian tree and stays as it is; OUT a folder for disk.img; EXTRA a folder of further
# files for the tree (another kernel).
set -eu
root=$1 out=$2 setup=$3 pubkey=$4 extra=${5:-}
mkdir -p "$out/up" "$out/work" "$out/all"
mount -t overlay overlay -o "lowerdir=${extra:+$extra:}$root,upperdir=$out/up,workdir=$out/work" \
	"$out/all"
install -m 755 "$setup" "$out/all/tmp/setup"
chroot "$out/all" /tmp/setup "$pubkey"
rm "$out/all/tmp/setup"
mke2fs -q -t ext4 -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$out/all" "$out/disk.img" 8G
umount "$out/all"
rm -rf "$out/up" "$out/work" "$out/all"
