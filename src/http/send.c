/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See send.h. Each request has a response object of its own, since X-Request-Id differs; what is
 * shared and was made once are the bytes.
 */
#include "http/send.h"

static void drop_body(void *body)
{
	body_unref(body);
}

static struct MHD_Response *response_of(const struct reply *reply, bool empty)
{
	struct MHD_Response *response;

	if (empty || !reply->body)
		return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	response = MHD_create_response_from_buffer_with_free_callback_cls(
		reply->body->n, reply->body->bytes, drop_body, body_ref(reply->body));
	if (!response)
		body_unref(reply->body);
	return response;
}

static void add_headers(struct MHD_Response *response, const struct reply *reply, int status)
{
	if (reply->body && status != 304)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->body->type);
	if (reply->resource) {
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, reply->body->etag);
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
	} else {
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	}
	if (reply->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
	if (reply->location[0])
		MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, reply->location);
	if (status == 401)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
					"Bearer realm=\"horcrux\"");
}

int send_reply(struct MHD_Connection *mhd, const struct reply *reply, const char *request_id,
	       const char *if_none_match)
{
	bool same = reply->resource && reply->status == 200 && if_none_match &&
		    body_matches(reply->body, if_none_match);
	int status = same ? 304 : reply->status;
	struct MHD_Response *response = response_of(reply, same);
	enum MHD_Result queued;

	if (!response)
		return -1;
	add_headers(response, reply, status);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "X-Request-Id", request_id);
	queued = MHD_queue_response(mhd, (unsigned)status, response);
	MHD_destroy_response(response);
	return queued == MHD_YES ? status : -1;
}
