#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the guests' ISOs: build.sh SOURCE OUT. Each boots from a BIOS and from UEFI.
set -eu
src=$1 out=$2
cd "$(mktemp -d)"
warn="-Wall -Wextra -Wshadow -Werror -std=gnu17 -Os"

make_iso() { # NAME MODE
	gcc -m32 $warn -ffreestanding -fno-pic -no-pie -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -mno-sse -mno-mmx -DMODE="$2" -nostdlib -static \
		-Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -T "$src/guest.ld" \
		-o bios.elf "$src/start.S" "$src/guest.c" "$src/bios.c"
	mkdir -p iso
	objcopy -O binary bios.elf iso/bios.img
	truncate -s %2048 iso/bios.img

	for f in guest efi; do
		gcc $warn -DMODE="$2" -I/usr/include/efi -I/usr/include/efi/x86_64 -fpic -ffreestanding \
			-fno-stack-protector -fshort-wchar -mno-red-zone -maccumulate-outgoing-args \
			-DGNU_EFI_USE_MS_ABI -c -o $f.o "$src/$f.c"
	done
	ld -nostdlib -znocombreloc -shared -Bsymbolic -T /usr/lib/elf_x86_64_efi.lds \
		/usr/lib/crt0-efi-x86_64.o guest.o efi.o -L/usr/lib -lefi -lgnuefi \
		--no-warn-rwx-segments -o efi.so
	objcopy -j .text -j .sdata -j .data -j .dynamic -j .rodata -j .dynsym -j .rel -j .rela \
		-j '.rel.*' -j '.rela.*' -j .reloc --target efi-app-x86_64 --subsystem=10 efi.so BOOTX64.EFI
	rm -f iso/efi.img
	truncate -s 1M iso/efi.img
	mkfs.vfat -n GUEST iso/efi.img >/dev/null
	mmd -i iso/efi.img ::EFI ::EFI/BOOT
	mcopy -i iso/efi.img BOOTX64.EFI ::EFI/BOOT/BOOTX64.EFI

	xorriso -as mkisofs -quiet -V GUEST -o "$out/$1.iso" \
		-b bios.img -no-emul-boot -boot-load-size $(($(stat -c %s iso/bios.img) / 512)) \
		-eltorito-alt-boot -e efi.img -no-emul-boot iso
}

make_iso guest LIST
make_iso guest-off OFF
make_iso guest-reboot REBOOT
make_iso guest-deaf DEAF
