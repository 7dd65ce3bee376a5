// SPDX-License-Identifier: Apache-2.0
/* The guest as an EFI program. Boot services stay: their event wait lets the processor sleep. */
#include <efi.h>
#include <efilib.h>

#include "guest.h"

const char firmware[] = "uefi";

static EFI_SYSTEM_TABLE *table;
static EFI_EVENT tick;

void idle(void)
{
	UINTN which;

	table->BootServices->WaitForEvent(1, &tick, &which);
}

/* Called by gnu-efi's start code, with the C calling convention, not the firmware's. */
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	(void)image;
	table = system;
	table->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
	table->BootServices->CreateEvent(EVT_TIMER, 0, NULL, NULL, &tick);
	table->BootServices->SetTimer(tick, TimerPeriodic, 1000000);
	guest_main();
	return EFI_SUCCESS;
}
