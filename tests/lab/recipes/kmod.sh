#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the module in a folder of sources. Runs in a mount namespace of its own, so that nothing stays mounted:
#   kmod.sh TOOLS HEADERS SOURCE OUT VERSION
# TOOLS and HEADERS are trees and stay as they are; the module lies in OUT afterwards.
set -eu
tools=$1 headers=$2 source=$3 out=$4 version=$5
mkdir "$out/up" "$out/work" "$out/all" "$out/source"
cp "$source"/* "$out/source"
mount -t overlay overlay -o "lowerdir=$headers:$tools,upperdir=$out/up,workdir=$out/work" "$out/all"
mount --bind "$out/source" "$out/all/mnt"
mount -t proc proc "$out/all/proc"
# without pahole, which no test needs
chroot "$out/all" make -C "/usr/src/linux-headers-$version" M=/mnt W=1 KCFLAGS=-Werror CONFIG_DEBUG_INFO_BTF_MODULES= modules
umount "$out/all/proc" "$out/all/mnt" "$out/all"
strip --strip-debug "$out/source/"*.ko
mv "$out/source/"*.ko "$out"
rm -rf "$out/up" "$out/work" "$out/all" "$out/source"
