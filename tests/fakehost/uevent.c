/* SPDX-License-Identifier: Apache-2.0 */
/* Sends uevents; see uevent.h. */
#include "uevent.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUE_MAX 4096
#define TRIES	  100 /* of a full socket, 2 ms apart */

struct message {
	struct message *next;
	struct text text;
};

static struct {
	int fd;
	struct sockaddr_un to;
	bool muted;
	unsigned long seqnum, sent, dropped;
	unsigned queued;
	struct message *first, *last;
} out = { .fd = -1 };

void uevent_mute(bool mute)
{
	out.muted = mute;
}

static int send_once(const struct text *t)
{
	if (sendto(out.fd, t->data, t->len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&out.to,
		   sizeof(out.to)) >= 0) {
		out.sent++;
		return 0;
	}
	return errno == ENOBUFS ? -EAGAIN : -errno;
}

/* Called with the lock held; sleeps without it. */
static void send_patiently(const struct text *t)
{
	int r = send_once(t);

	for (int i = 0; r == -EAGAIN && i < TRIES; i++) {
		host_sleep(2);
		r = send_once(t);
	}
	if (r)
		out.dropped++;
}

static void *sender(void *unused)
{
	(void)unused;
	host_lock();
	for (;;) {
		struct message *m = out.first;

		if (!m) {
			host_wait();
			continue;
		}
		send_patiently(&m->text);
		out.first = m->next;
		out.queued--;
		text_free(&m->text);
		free(m);
	}
	return NULL;
}

int uevent_start(const char *path)
{
	pthread_t thread;

	if (strlen(path) >= sizeof(out.to.sun_path))
		return -ENAMETOOLONG;
	out.to.sun_family = AF_UNIX;
	memcpy(out.to.sun_path, path, strlen(path) + 1);
	out.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (out.fd < 0)
		return -errno;
	return -pthread_create(&thread, NULL, sender, NULL);
}

static void enqueue(struct text *t)
{
	struct message *m;

	if (out.queued >= QUEUE_MAX) {
		out.dropped++;
		text_free(t);
		return;
	}
	m = must_alloc(sizeof(*m));
	m->text = *t;
	if (out.first)
		out.last->next = m;
	else
		out.first = m;
	out.last = m;
	out.queued++;
	host_wake();
}

/* In order always: straight to the socket only while nothing waits. */
static void deliver(struct text *t)
{
	int r = out.first ? -EAGAIN : send_once(t);

	if (r == -EAGAIN) {
		enqueue(t);
		return;
	}
	if (r)
		out.dropped++;
	text_free(t);
}

static void add_string(struct text *t, const char *key, const char *value)
{
	text_addf(t, "%s%s", key, value);
	text_add(t, "", 1);
}

void uevent_send(const char *action, struct node *dir, const char *subsystem, const char *env)
{
	char *path = node_path(dir), number[32];
	const char *devpath = strncmp(path, "/sys/", 5) ? path : path + 4;
	struct text t = { 0 };

	text_addf(&t, "%s@%s", action, devpath);
	text_add(&t, "", 1);
	add_string(&t, "ACTION=", action);
	add_string(&t, "DEVPATH=", devpath);
	add_string(&t, "SUBSYSTEM=", subsystem);
	for (size_t len; *env; env += len + (env[len] == '\n')) {
		len = strcspn(env, "\n");
		text_add(&t, env, len);
		text_add(&t, "", 1);
	}
	snprintf(number, sizeof(number), "%lu", ++out.seqnum);
	add_string(&t, "SEQNUM=", number);
	free(path);
	if (out.fd < 0 || out.muted) {
		out.dropped += out.fd >= 0;
		text_free(&t);
		return;
	}
	deliver(&t);
}

void uevent_report(struct text *t)
{
	text_addf(t, "seqnum %lu\nsent %lu\ndropped %lu\nqueued %u\n", out.seqnum, out.sent,
		  out.dropped, out.queued);
}
