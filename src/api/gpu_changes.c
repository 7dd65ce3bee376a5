/* SPDX-License-Identifier: Apache-2.0 */
/* Taking cards and giving them back. */
#include "api/change.h"
#include "api/handlers.h"
#include "gpu/change.h"
#include "vgpu/change.h"

int gpus_bind(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_bind *body = rq->body;

	(void)reply;
	return change_submit(rq, &gpu_bind_operation,
			     gpu_change_new(rq->params[0], body->scope == SCOPE_FUNCTION),
			     rq->query, &body->accept, err);
}

int gpus_unbind(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_accept *body = rq->body;

	(void)reply;
	return change_submit(rq, &gpu_release_operation, gpu_change_new(rq->params[0], false),
			     rq->query, &body->accept, err);
}

int gpus_release_quarantine(struct request *rq, struct reply *reply, struct error *err)
{
	(void)reply;
	return change_submit(rq, &gpu_unquarantine_operation, gpu_change_new(rq->params[0], false),
			     rq->query, NULL, err);
}

int gpus_sriov(struct request *rq, struct reply *reply, struct error *err)
{
	const struct wire_sriov_change *body = rq->body;

	(void)reply;
	return change_submit(rq, &sriov_operation, sriov_change_new(rq->params[0], body->vfs), rq->query,
			     &body->accept, err);
}
