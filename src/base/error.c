/* SPDX-License-Identifier: Apache-2.0 */
/* The error object and the one table of error codes. No state, any thread. */
#include "base/error.h"

#include <string.h>

static const struct {
	const char *name;
	int status;
	const char *title;
} codes[ERROR_CODES] = {
	[ERROR_NONE] = { "none", 200, "No error" },
	[ERROR_BAD_JSON] = { "bad_json", 400, "The body is not valid JSON" },
	[ERROR_BAD_REQUEST] = { "bad_request", 400, "The request is malformed" },
	[ERROR_UNAUTHORIZED] = { "unauthorized", 401, "Who you are is not known" },
	[ERROR_FORBIDDEN] = { "forbidden", 403, "You may not do this" },
	[ERROR_NOT_FOUND] = { "not_found", 404, "There is no such thing" },
	[ERROR_METHOD_NOT_ALLOWED] = { "method_not_allowed", 405, "This method does not apply here" },
	[ERROR_CONFLICT] = { "conflict", 409, "Something is in the way" },
	[ERROR_REFUSED] = { "refused", 409, "Refused, and nothing was changed" },
	[ERROR_EXISTS] = { "exists", 409, "It exists already" },
	[ERROR_PLAN_CHANGED] = { "plan_changed", 409, "The plan would now be another" },
	[ERROR_PRECONDITION] = { "precondition_failed", 412, "It was changed meanwhile" },
	[ERROR_TOO_LARGE] = { "too_large", 413, "The body is too large" },
	[ERROR_URI_TOO_LONG] = { "uri_too_long", 414, "The address is too long" },
	[ERROR_MEDIA_TYPE] = { "media_type", 415, "The body's type is not understood" },
	[ERROR_UNKNOWN_FIELD] = { "unknown_field", 422, "A field is not known" },
	[ERROR_MISSING_FIELD] = { "missing_field", 422, "A field is missing" },
	[ERROR_WRONG_TYPE] = { "wrong_type", 422, "A field has the wrong type" },
	[ERROR_INVALID_VALUE] = { "invalid_value", 422, "A field has a value that cannot be" },
	[ERROR_TOO_MANY] = { "too_many", 429, "A limit is reached" },
	[ERROR_STUCK] = { "stuck", 504, "The kernel did not answer in time" },
	[ERROR_PROOF_FAILED] = { "proof_failed", 500, "It was done, but is not so" },
	[ERROR_CANCELLED] = { "cancelled", 409, "It was cancelled" },
	[ERROR_NO_ANSWER] = { "no_answer", 409, "The card does not answer any more" },
	[ERROR_GONE] = { "gone", 409, "It vanished meanwhile" },
	[ERROR_HELPER] = { "helper_unavailable", 503, "The privileged helper is not available" },
	[ERROR_LIBVIRT] = { "libvirt_unavailable", 503, "libvirt is not available" },
	[ERROR_LIBVIRT_FAILED] = { "libvirt_failed", 502, "libvirt or QEMU could not do it" },
	[ERROR_STORE] = { "store_unavailable", 503, "The store is not available" },
	[ERROR_READ_ONLY] = { "read_only", 503, "This host root can only be read" },
	[ERROR_UNREACHABLE] = { "unreachable", 503, "The daemon does not answer" },
	[ERROR_USAGE] = { "usage", 400, "Wrong usage" },
	[ERROR_SYSTEM] = { "system", 500, "The system refused" },
	[ERROR_INTERNAL] = { "internal", 500, "A fault in Horcrux" },
};

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return -1;
	*err = (struct error){ .code = code };
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	return -1;
}

int error_errno(struct error *err, enum error_code code, int errno_value, const char *fmt, ...)
{
	va_list args;
	size_t n;

	if (!err)
		return -1;
	*err = (struct error){ .code = code };
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	n = strlen(err->message);
	snprintf(err->message + n, sizeof(err->message) - n, ": %s", strerrordesc_np(errno_value) ?: "unknown error");
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char old[sizeof(err->message)];
	va_list args;
	size_t n;

	if (!err)
		return -1;
	memcpy(old, err->message, sizeof(old));
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	n = strlen(err->message);
	snprintf(err->message + n, sizeof(err->message) - n, ": %s", old);
	return -1;
}

void error_add(struct error *err, const char *text)
{
	size_t n = strlen(err->message);

	if (n && n + strlen(text) < sizeof(err->message))
		snprintf(err->message + n, sizeof(err->message) - n, "%s", text);
}

int error_hint(struct error *err, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return -1;
	va_start(args, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	return -1;
}

int error_pointer(struct error *err, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return -1;
	va_start(args, fmt);
	vsnprintf(err->pointer, sizeof(err->pointer), fmt, args);
	va_end(args);
	return -1;
}

static enum error_code known(enum error_code code)
{
	return (unsigned)code < ERROR_CODES ? code : ERROR_INTERNAL;
}

const char *error_code_name(enum error_code code)
{
	return codes[known(code)].name;
}

const char *error_code_title(enum error_code code)
{
	return codes[known(code)].title;
}

int error_code_status(enum error_code code)
{
	return codes[known(code)].status;
}

enum error_code error_code_find(const char *name)
{
	for (size_t i = 0; i < ERROR_CODES; i++)
		if (!strcmp(codes[i].name, name))
			return (enum error_code)i;
	return ERROR_CODES;
}
