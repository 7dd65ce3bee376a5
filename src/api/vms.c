/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs: reading them from vm_replies.h, and every change as a task. HTTP threads; nothing blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/change.h"
#include "api/handlers.h"
#include "api/vm_replies.h"
#include "http/pending.h"
#include "vm/lifecycle.h"

enum { XML_MS = 60 * 1000 };

static const char TYPE_XML[] = "application/xml";

/* ---- reading ---- */

static int known(const struct vm_replies *replies, struct error *err)
{
	if (!replies) {
		error_set(err, ERROR_UNREACHABLE, "the VMs were not read yet");
		return error_hint(err, "try again in a second");
	}
	if (!replies->why.code)
		return 0;
	*err = replies->why;
	return -1;
}

int vms_list(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(vm_replies_releasep) struct vm_replies *replies = vm_replies_acquire();

	if (known(replies, err) < 0)
		return -1;
	*reply = reply_resource(vm_replies_list(replies, rq->query));
	return 0;
}

int vms_show(struct request *rq, struct reply *reply, struct error *err)
{
	CLEANUP(vm_replies_releasep) struct vm_replies *replies = vm_replies_acquire();
	const struct vm_reply *r;

	if (known(replies, err) < 0)
		return -1;
	r = vm_replies_find(replies, rq->params[0]);
	if (!r) {
		error_set(err, ERROR_NOT_FOUND, "there is no VM %.70s", rq->params[0]);
		return error_hint(err, "GET /api/vms lists those that are there");
	}
	*reply = reply_resource(body_ref(r->body));
	return 0;
}

/* ---- what libvirt gets: planned by a task that is a dry run, since that asks libvirt and the
 * store ---- */

static struct reply xml_reply(struct task *task, bool planned)
{
	struct task_outcome outcome;
	struct error late;
	struct reply reply;
	const char *xml;

	task_outcome(task, &outcome);
	xml = json_string_value(
		json_object_get(json_object_get(outcome.plan, "plan"), "domain_xml"));
	if (!planned || (!xml && !outcome.error.code)) {
		error_set(&late, ERROR_UNREACHABLE, "the VM could not be looked at in time");
		reply = reply_problem(&late, NULL, NULL);
	} else if (outcome.error.code) {
		reply = reply_problem(&outcome.error, NULL, NULL);
	} else {
		reply = reply_resource(body_new(TYPE_XML, xml, strlen(xml)));
	}
	task_outcome_finish(&outcome);
	return reply;
}

static void on_xml(void *data, struct task *task, bool reached)
{
	uint64_t *ticket = data;
	struct reply reply = xml_reply(task, reached);

	pending_answer(*ticket, &reply);
	reply_finish(&reply);
	free(ticket);
}

int vms_xml(struct request *rq, struct reply *reply, struct error *err)
{
	const struct api *api = rq->context;
	const struct task_options options = { .dry_run = true };
	CLEANUP(task_unrefp) struct task *task = NULL;
	uint64_t *ticket;

	(void)reply;
	if (!api->engine)
		return error_set(err, ERROR_UNREACHABLE, "the daemon is still starting");
	task = task_submit(api->engine, &vm_xml_operation, vm_request_new(rq->params[0], ROW_NULL),
			   &options, err);
	if (!task)
		return -1;
	ticket = malloc(sizeof(*ticket));
	if (!ticket)
		abort();
	*ticket = request_defer(rq, 0, err);
	if (!*ticket) {
		free(ticket);
		return -1;
	}
	if (task_wait(task, TASK_PLANNED, XML_MS, on_xml, ticket, err) < 0)
		on_xml(ticket, task, false);
	return 0;
}

/* ---- changing ---- */

int vms_create(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_vm_spec *spec = rq->body;
	const struct operation *operation = spec->start == 1 ? &vm_create_and_start_operation
							     : &vm_create_operation;

	(void)reply;
	return change_submit(rq, operation, vm_create_new(spec), rq->query, &spec->accept, err);
}

int vms_change(struct request *rq, struct reply *reply, struct error *err)
{
	(void)reply;
	return change_submit(rq, &vm_change_operation, vm_change_new(rq->params[0], rq->body),
			     rq->query, NULL, err);
}

int vms_delete(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_vm_delete *query = rq->query;
	const struct wire_change_query change = { .dry_run = query->dry_run };

	(void)reply;
	return change_submit(rq, &vm_delete_operation,
			     vm_delete_new(rq->params[0], query->delete_disks == 1), &change, NULL,
			     err);
}

int vms_start(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_accept *body = rq->body;

	(void)reply;
	return change_submit(rq, &vm_start_operation, vm_request_new(rq->params[0], ROW_NULL),
			     rq->query, &body->accept, err);
}

int vms_stop(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_vm_stop *body = rq->body;

	(void)reply;
	return change_submit(rq, &vm_stop_operation, vm_request_new(rq->params[0], body->timeout_s),
			     rq->query, NULL, err);
}

int vms_kill(struct request *rq, struct reply *reply, struct error *err)
{
	(void)reply;
	return change_submit(rq, &vm_kill_operation, vm_request_new(rq->params[0], ROW_NULL),
			     rq->query, NULL, err);
}

int vms_restart(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_vm_restart *body = rq->body;

	(void)reply;
	return change_submit(rq, &vm_restart_operation,
			     vm_request_new(rq->params[0], body->timeout_s), rq->query,
			     &body->accept, err);
}
