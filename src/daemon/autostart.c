/* SPDX-License-Identifier: Apache-2.0 */
/* See autostart.h. Of the thread that looks after VMs. */
#include "daemon/autostart.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "base/log.h"
#include "vm/lifecycle.h"

enum { WAIT_MS = 3600 * 1000, NOTES_MAX = 1 << 20 };

/*
 * The notes: the boot's id, then a line for each VM that was to be started when it began
 * (START_LINE), and one for each whose start is over (DONE_LINE). Written before any task is.
 */
#define START_LINE "start "
#define DONE_LINE  "done "
static char notes[600], notes_new[610];

static void note_done(const char *vm)
{
	CLEAN_FD int fd = open(notes, O_WRONLY | O_APPEND | O_CLOEXEC);
	char line[128];
	int n = snprintf(line, sizeof(line), DONE_LINE "%s\n", vm);

	if (fd < 0 || write(fd, line, (size_t)n) != n)
		log_warning("it cannot be noted that VM %s was started with the host", vm);
}

/* Any thread; data is the VM's id, freed here. Not reached: the daemon ends, or it takes for ever. */
static void on_started(void *data, struct task *task, bool reached)
{
	struct task_outcome outcome;

	task_outcome(task, &outcome);
	if (outcome.error.code != ERROR_NONE)
		log_warning("VM %s was not started with the host: %s", (char *)data,
			    outcome.error.message);
	if (reached)
		note_done(data);
	task_outcome_finish(&outcome);
	free(data);
}

/* What was noted, NULL: nothing. malloc'd. */
static char *read_notes(void)
{
	CLEAN_FD int fd = open(notes, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : calloc(1, NOTES_MAX);
	ssize_t n = text ? read(fd, text, NOTES_MAX - 1) : -1;

	if (n >= 0)
		return text;
	free(text);
	return NULL;
}

static bool has_line(const char *text, const char *kind, const char *vm)
{
	char line[128];
	size_t n = (size_t)snprintf(line, sizeof(line), "\n%s%s\n", kind, vm);

	return n < sizeof(line) && strstr(text, line);
}

static bool runs(const struct list *domains, const char *vm)
{
	for (LIST_EACH(const struct virt_domain, domain, domains))
		if (domain->vm && !strcmp(domain->vm, vm))
			return true;
	return false;
}

/* The notes of this boot, which begin now. NULL: they cannot be written. malloc'd. */
static char *begin_notes(const char *boot, const struct list *vms, const struct list *domains)
{
	CLEAN_FILE FILE *f = fopen(notes_new, "we");
	bool bad;

	if (!f)
		return NULL;
	fprintf(f, "%s\n", boot);
	for (LIST_EACH(const struct vm_record, vm, vms))
		if (vm->spec.autostart == 1 && !runs(domains, vm->spec.id))
			fprintf(f, START_LINE "%s\n", vm->spec.id);
	bad = fflush(f) || ferror(f) || rename(notes_new, notes) < 0;
	return bad ? NULL : read_notes();
}

static void tell_accepted(const struct vm_record *vm)
{
	char text[256] = "";
	size_t n = 0;

	for (LIST_EACH(const char *, code, &vm->accepted))
		if (n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? ", " : "", *code);
	log_notice("VM %s is started with the host; as at its last start this is passed over: %s",
		   vm->spec.id, text);
}

static void start(struct engine *engine, const struct vm_record *vm)
{
	const struct task_options options = { .requested_by = "horcruxd: autostart",
					      .accept = vm->accepted };
	CLEANUP(task_unrefp) struct task *task = NULL;
	char *name = strdup(vm->spec.id);
	struct error err;

	if (!name)
		abort();
	if (vm->accepted.n)
		tell_accepted(vm);
	task = task_submit(engine, &vm_start_operation, vm_request_new(name, ROW_NULL), &options,
			   &err);
	if (!task)
		log_warning("VM %s was not started with the host: %s", name, err.message);
	if (!task || task_wait(task, TASK_ENDED, WAIT_MS, on_started, name, &err) < 0)
		free(name);
}

void autostart(struct engine *engine, const char *run_dir, const struct list *vms,
	       const struct list *domains)
{
	char boot[SD_ID128_STRING_MAX] = "";
	CLEAN_FREE char *text = NULL;
	sd_id128_t id;

	snprintf(notes, sizeof(notes), "%s/autostarted", run_dir);
	snprintf(notes_new, sizeof(notes_new), "%s.new", notes);
	if (sd_id128_get_boot(&id) >= 0)
		sd_id128_to_string(id, boot);
	text = read_notes();
	if (!text || strncmp(text, boot, strlen(boot))) {
		free(text);
		text = begin_notes(boot, vms, domains);
	}
	if (!text)
		log_warning("no VM is started with the host: %s cannot be written", notes);
	for (LIST_EACH(const struct vm_record, vm, vms)) {
		if (!text || vm->spec.autostart != 1 || !has_line(text, START_LINE, vm->spec.id) ||
		    has_line(text, DONE_LINE, vm->spec.id))
			continue;
		if (runs(domains, vm->spec.id))
			note_done(vm->spec.id);
		else
			start(engine, vm);
	}
}
