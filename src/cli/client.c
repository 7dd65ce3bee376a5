/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/strbuf.h"

enum { CONNECT_MS = 5000, BODY_MAX = 16 * 1024 * 1024 };

struct client {
	CURL *curl;
	const char *path;
	int64_t timeout_s;
	char why[CURL_ERROR_SIZE];
};

void answer_finish(struct answer *answer)
{
	free(answer->bytes);
	json_decref(answer->json);
	*answer = (struct answer){ 0 };
}

/* Proxies of the environment, redirects and other protocols have no business here. */
static bool set_up(struct client *client)
{
	CURL *curl = client->curl;

	return !curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->path) &&
	       !curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http") &&
	       !curl_easy_setopt(curl, CURLOPT_PROXY, "") &&
	       !curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) &&
	       !curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) &&
	       !curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->why) &&
	       !curl_easy_setopt(curl, CURLOPT_USERAGENT, "horcrux/" HORCRUX_VERSION);
}

struct client *client_new(const char *path, int64_t timeout_s, struct error *err)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		abort();
	client->path = path;
	client->timeout_s = timeout_s;
	if (!curl_global_init(CURL_GLOBAL_NOTHING))
		client->curl = curl_easy_init();
	if (client->curl && set_up(client))
		return client;
	client_free(client);
	error_set(err, ERROR_INTERNAL, "libcurl cannot be used");
	return NULL;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	if (client->curl)
		curl_easy_cleanup(client->curl);
	free(client);
}

bool client_reachable(const char *path, const char **why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(to.sun_path))
		return true;	/* let the call itself say what is wrong */
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return true;
	if (errno == EACCES || errno == EPERM) {
		*why = "you may not talk to the daemon (root and members of group horcrux may)";
		return false;
	}
	*why = "no daemon answers";
	return errno != ENOENT && errno != ECONNREFUSED && errno != ENOTDIR;
}

static size_t take_bytes(char *bytes, size_t size, size_t n, void *data)
{
	struct strbuf *body = data;

	strbuf_add_n(body, bytes, size * n);
	return body->failed ? 0 : size * n;
}

static int unreachable(const struct client *client, CURLcode code, struct failure *why)
{
	struct error *err = &why->error;
	long os_errno = 0;

	curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_errno);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		if (os_errno)
			error_errno(err, ERROR_UNREACHABLE, (int)os_errno, "no daemon answers at %s",
				    client->path);
		else
			error_set(err, ERROR_UNREACHABLE, "no daemon answers at %s", client->path);
		if (os_errno == EACCES)
			return error_hint(err, "root and members of group horcrux may ask it");
		return error_hint(err, "see: systemctl status horcruxd");
	case CURLE_OPERATION_TIMEDOUT:
		error_set(err, ERROR_UNREACHABLE, "the daemon at %s did not answer in time",
			  client->path);
		return error_hint(err, "what was asked may still be done; see: journalctl -u horcruxd");
	case CURLE_WRITE_ERROR:
		return error_set(err, ERROR_INTERNAL, "the answer of the daemon at %s has no end",
				 client->path);
	default:
		error_set(err, ERROR_UNREACHABLE, "the daemon at %s went away before it had answered: %s",
			  client->path, client->why[0] ? client->why : curl_easy_strerror(code));
		return error_hint(err, "what was asked may be done all the same; see: journalctl -u horcruxd");
	}
}

static bool perform(struct client *client, const char *method, const char *url,
		    struct strbuf *body, CURLcode *code)
{
	CURL *curl = client->curl;
	bool get = !strcmp(method, "GET");

	client->why[0] = '\0';
	*code = CURLE_FAILED_INIT;
	if (curl_easy_setopt(curl, CURLOPT_URL, url) ||
	    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(client->timeout_s * 1000)) ||
	    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes) ||
	    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body) ||
	    (get ? curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) :
		   curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "")) ||
	    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, get ? NULL : method))
		return false;
	*code = curl_easy_perform(curl);
	return *code == CURLE_OK;
}

static int read_answer(struct strbuf *body, long status, struct answer *ret, struct failure *why)
{
	json_error_t where;
	json_t *json = NULL;

	if (body->len)
		json = json_loadb(body->text, body->len, JSON_DECODE_ANY, &where);
	if (status >= 200 && status < 300 && (json || !body->len)) {
		ret->json = json;
		ret->n = body->len;
		ret->bytes = strbuf_take(body);
		return 0;
	}
	error_set(&why->error, ERROR_INTERNAL, "the daemon answered with status %ld and no %s", status,
		  status >= 400 ? "reason" : "JSON");
	error_hint(&why->error, "is what listens there a Horcrux daemon of this version?");
	if (status >= 400 && json_is_object(json))
		why->problem = json;
	else
		json_decref(json);
	return -1;
}

int client_call(struct client *client, const char *method, const char *path, struct answer *ret,
		struct failure *why)
{
	CLEAN_STRBUF struct strbuf body = STRBUF_INIT(BODY_MAX);
	char url[256];
	CURLcode code;
	long status = 0;

	snprintf(url, sizeof(url), "http://localhost%s", path);
	if (!perform(client, method, url, &body, &code))
		return unreachable(client, code, why);
	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return read_answer(&body, status, ret, why);
}
