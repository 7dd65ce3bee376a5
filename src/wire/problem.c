/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of problem.h, and the way from an error to a problem. Pure; any thread. */
#include "wire/problem.h"

#define REFUSAL(field) offsetof(struct wire_refusal, field)

const struct row wire_refusal_rows[] = {
	{ "code", ROW_STRING, ROW_NOT_NULL, REFUSAL(code), .help = "what stands against it" },
	{ "subject", ROW_STRING, 0, REFUSAL(subject), .help = "what it is about" },
	{ "reason", ROW_STRING, ROW_NOT_NULL, REFUSAL(reason), .help = "one sentence" },
	{ "evidence", ROW_STRING, 0, REFUSAL(evidence), .help = "what was found, and where" },
	{ "fix", ROW_STRING, 0, REFUSAL(fix), .help = "what to do about it" },
	{ "can_accept", ROW_BOOL, ROW_NOT_NULL, REFUSAL(can_accept),
	  .help = "goes through when its code is in the request's accept" },
	ROW_END,
};

#define PROBLEM(field) offsetof(struct wire_problem, field)

const struct row wire_problem_rows[] = {
	{ "type", ROW_STRING, ROW_NOT_NULL, PROBLEM(type), .help = "URN of the kind of error" },
	{ "title", ROW_STRING, ROW_NOT_NULL, PROBLEM(title), .help = "the kind in words" },
	{ "status", ROW_INT, ROW_NOT_NULL, PROBLEM(status), .help = "HTTP status" },
	{ "detail", ROW_STRING, ROW_NOT_NULL, PROBLEM(detail), .help = "what, where, why" },
	{ "code", ROW_STRING, ROW_NOT_NULL, PROBLEM(code), .help = "the kind, for programs" },
	{ "hint", ROW_STRING, ROW_OPTIONAL | ROW_NOT_NULL, PROBLEM(hint), .help = "what to do" },
	{ "pointer", ROW_STRING, ROW_OPTIONAL | ROW_NOT_NULL, PROBLEM(pointer),
	  .help = "RFC 6901, the field of the body that is wrong" },
	{ "refusals", ROW_OBJECTS, ROW_OPTIONAL | ROW_NOT_NULL, PROBLEM(refusals),
	  .rows = wire_refusal_rows, .size = sizeof(struct wire_refusal),
	  .help = "all that stands against the change" },
	{ "task", ROW_STRING, ROW_OPTIONAL | ROW_NOT_NULL, PROBLEM(task),
	  .help = "id of the task that failed" },
	ROW_END,
};

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

void wire_problem_of(const struct error *err, const struct list *refusals, const char *task,
		     struct wire_problem *out)
{
	rows_clear(wire_problem_rows, out);
	snprintf(out->type_text, sizeof(out->type_text), "urn:horcrux:error:%s",
		 error_code_name(err->code));
	out->type = out->type_text;
	out->title = error_code_title(err->code);
	out->status = error_code_status(err->code);
	out->detail = err->message;
	out->code = error_code_name(err->code);
	out->hint = or_null(err->hint);
	out->pointer = or_null(err->pointer);
	if (refusals)
		out->refusals = *refusals;
	out->task = task;
}
