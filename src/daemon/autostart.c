/* SPDX-License-Identifier: Apache-2.0 */
/* See autostart.h. Of the thread that looks after VMs. */
#include "daemon/autostart.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "base/log.h"
#include "vm/lifecycle.h"

enum { WAIT_MS = 3600 * 1000 };

/* Any thread; data is the VM's id, freed here. */
static void on_started(void *data, struct task *task, bool reached)
{
	struct task_outcome outcome;

	(void)reached;
	task_outcome(task, &outcome);
	if (outcome.error.code != ERROR_NONE)
		log_warning("VM %s was not started with the host: %s", (char *)data,
			    outcome.error.message);
	task_outcome_finish(&outcome);
	free(data);
}

/* True: the mark of this boot is there already, or cannot be set: then nothing is started. */
static bool mark_boot(const char *run_dir)
{
	char path[600], boot[SD_ID128_STRING_MAX] = "", there[SD_ID128_STRING_MAX] = "";
	sd_id128_t id;
	CLEAN_FD int fd = -1;

	if (sd_id128_get_boot(&id) >= 0)
		sd_id128_to_string(id, boot);
	snprintf(path, sizeof(path), "%s/autostarted", run_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || read(fd, there, sizeof(there) - 1) < 0 || !strcmp(there, boot))
		return true;
	return pwrite(fd, boot, strlen(boot), 0) < 0;
}

static bool runs(const struct list *domains, const char *vm)
{
	for (LIST_EACH(const struct virt_domain, domain, domains))
		if (domain->vm && !strcmp(domain->vm, vm))
			return true;
	return false;
}

static void start(struct engine *engine, const char *vm)
{
	const struct task_options options = { .requested_by = "horcruxd: autostart" };
	CLEANUP(task_unrefp) struct task *task = NULL;
	char *name = strdup(vm);
	struct error err;

	if (!name)
		abort();
	task = task_submit(engine, &vm_start_operation, vm_request_new(vm, ROW_NULL), &options,
			   &err);
	if (!task)
		log_warning("VM %s was not started with the host: %s", vm, err.message);
	if (!task || task_wait(task, TASK_ENDED, WAIT_MS, on_started, name, &err) < 0)
		free(name);
}

void autostart(struct engine *engine, const char *run_dir, const struct list *vms,
	       const struct list *domains)
{
	if (mark_boot(run_dir))
		return;
	for (LIST_EACH(const struct vm_record, vm, vms))
		if (vm->spec.autostart == 1 && !runs(domains, vm->spec.id))
			start(engine, vm->spec.id);
}
