/* SPDX-License-Identifier: Apache-2.0 */
/* The control directory; what its files do is in README.md. */
#include "control.h"

#include <stdlib.h>
#include <string.h>

#include "knobs.h"
#include "log.h"
#include "uevent.h"

static struct node *dir;

static int each_line(const char *buf, size_t len, int (*act)(const char *))
{
	char *all = text_format("%.*s", (int)len, buf);
	int r = 0;

	for (char *at = all, *end; !r && *at; at = end) {
		end = at + strcspn(at, "\n");
		if (*end)
			*end++ = '\0';
		host.where = NULL;
		r = act(at);
	}
	free(all);
	return r;
}

static int knobs_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	knob_show(out);
	return 0;
}

static int knobs_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)owner;
	(void)attr;
	return each_line(buf, len, knob_line);
}

static int event_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)owner;
	(void)attr;
	return each_line(buf, len, event_line);
}

static int writes_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	log_show_writes(out);
	return 0;
}

static int writes_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)owner;
	(void)attr;
	(void)buf;
	(void)len;
	log_clear_writes();
	return 0;
}

static int reads_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	log_show_reads(out);
	return 0;
}

static int reads_store(void *owner, const struct attr *attr, const char *buf, size_t len)
{
	(void)owner;
	(void)attr;
	(void)buf;
	(void)len;
	log_clear_reads();
	return 0;
}

static int uevents_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	uevent_report(out);
	return 0;
}

static int error_show(void *owner, const struct attr *attr, struct text *out)
{
	(void)owner;
	(void)attr;
	text_addf(out, "%s\n", host.error ? host.error : "");
	return 0;
}

static const struct attr attrs[] = {
	{ .name = "error", .mode = 0444, .show = error_show },
	{ .name = "event", .mode = 0200, .store = event_store },
	{ .name = "knobs", .mode = 0644, .show = knobs_show, .store = knobs_store },
	{ .name = "reads", .mode = 0644, .show = reads_show, .store = reads_store },
	{ .name = "uevents", .mode = 0444, .show = uevents_show },
	{ .name = "writes", .mode = 0644, .show = writes_show, .store = writes_store },
};

void control_make(void)
{
	dir = node_dir(NULL, ".fake");
	node_files(dir, attrs, sizeof(attrs) / sizeof(*attrs), NULL);
}

bool control_owns(const struct node *n)
{
	return dir && (n == dir || n->parent == dir);
}
