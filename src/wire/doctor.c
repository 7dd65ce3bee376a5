/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of doctor.h. */
#include "wire/doctor.h"

const char *const wire_check_status_words[] = { "ok", "warn", "fail", "unknown", NULL };

#define CHECK(field) offsetof(struct wire_check, field)

static const struct row check_rows[] = {
	{ "id", ROW_STRING, ROW_NOT_NULL, CHECK(id), .help = "what is checked" },
	{ "subject", ROW_STRING, ROW_NOT_NULL, CHECK(subject),
	  .help = "host, or the address of a card" },
	{ "status", ROW_WORD, ROW_NOT_NULL, CHECK(status), .words = wire_check_status_words,
	  .help = "how it stands" },
	{ "title", ROW_STRING, ROW_NOT_NULL, CHECK(title), .help = "what was found" },
	{ "evidence", ROW_STRING, 0, CHECK(evidence), .help = "where it was seen" },
	{ "why", ROW_STRING, ROW_NOT_NULL, CHECK(why), .help = "why it matters" },
	{ "fix", ROW_STRING, 0, CHECK(fix), .help = "what to do; null: nothing" },
	{ "reboot_needed", ROW_BOOL, ROW_NOT_NULL, CHECK(reboot_needed),
	  .help = "the fix takes a reboot of the host" },
	ROW_END,
};

#define DOCTOR(field) offsetof(struct wire_doctor, field)

const struct row wire_doctor_rows[] = {
	{ "verdict", ROW_WORD, ROW_NOT_NULL, DOCTOR(verdict), .words = wire_check_status_words,
	  .help = "the host's worst check, and the worst of its best card" },
	{ "checks", ROW_OBJECTS, ROW_NOT_NULL, DOCTOR(checks), .rows = check_rows,
	  .size = sizeof(struct wire_check), .help = "first the host's, then each card's" },
	ROW_END,
};
