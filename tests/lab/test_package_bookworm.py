# SPDX-License-Identifier: Apache-2.0
"""The package on stock Debian 12: its own systemd and its own AppArmor rules of libvirt."""

from test_package import (  # noqa: F401
    test_folders, test_holders_of_other_users_are_seen, test_modules_groups_and_memory_map,
    test_qemu_reads_roms_of_ours_alone, test_units_are_confined, test_units_are_on_once_installed)

KIND = "bookworm-intel"
