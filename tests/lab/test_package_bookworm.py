# SPDX-License-Identifier: Apache-2.0
"""The package on stock Debian 12: its own systemd and its own AppArmor rules of libvirt. In the order in
which they are named here."""

from test_package import (  # noqa: F401
    busy, test_folders, test_units_are_on_once_installed, test_units_are_confined,
    test_holders_of_other_users_are_seen, test_modules_groups_and_memory_map,
    test_qemu_reads_roms_of_ours_alone, test_vms_and_cards_are_left_alone, test_removal_gives_back_what_nobody_uses,
    test_installed_again_it_knows_what_it_took, test_removal_gives_everything_back,
    test_purge_leaves_no_card_and_no_word_unsaid)

KIND = "bookworm-intel"
