/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See client.h. libcurl is opened when the first call is made: it and the 28 libraries behind it
 * take longer to load than this program needs for reading a host, which does not need them.
 */
#include "cli/client.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/strbuf.h"

enum { CONNECT_MS = 5000, BODY_MAX = 16 * 1024 * 1024 };

struct curl_calls {
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_easy_init) *init;
	__typeof__(curl_easy_setopt) *set;
	__typeof__(curl_easy_perform) *perform;
	__typeof__(curl_easy_getinfo) *get;
	__typeof__(curl_easy_cleanup) *cleanup;
	__typeof__(curl_easy_strerror) *strerror;
	__typeof__(curl_slist_append) *append;
	__typeof__(curl_slist_free_all) *free_all;
};

struct client {
	struct curl_calls call;
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

/* Never closed: what libcurl registered for the end of the program stays valid. */
static bool curl_open(struct curl_calls *calls)
{
	void *library = dlopen("libcurl-gnutls.so.4", RTLD_NOW);

	if (!library)
		return false;
	*(void **)&calls->global_init = dlsym(library, "curl_global_init");
	*(void **)&calls->init = dlsym(library, "curl_easy_init");
	*(void **)&calls->set = dlsym(library, "curl_easy_setopt");
	*(void **)&calls->perform = dlsym(library, "curl_easy_perform");
	*(void **)&calls->get = dlsym(library, "curl_easy_getinfo");
	*(void **)&calls->cleanup = dlsym(library, "curl_easy_cleanup");
	*(void **)&calls->strerror = dlsym(library, "curl_easy_strerror");
	*(void **)&calls->append = dlsym(library, "curl_slist_append");
	*(void **)&calls->free_all = dlsym(library, "curl_slist_free_all");
	return calls->global_init && calls->init && calls->set && calls->perform && calls->get &&
	       calls->cleanup && calls->strerror && calls->append && calls->free_all;
}

/* Proxies of the environment, redirects and other protocols have no business here. */
static bool set_up(struct client *client)
{
	const struct curl_calls *c = &client->call;
	CURL *curl = client->curl;

	return !c->set(curl, CURLOPT_UNIX_SOCKET_PATH, client->path) &&
	       !c->set(curl, CURLOPT_PROTOCOLS_STR, "http") && !c->set(curl, CURLOPT_PROXY, "") &&
	       !c->set(curl, CURLOPT_NOSIGNAL, 1L) &&
	       !c->set(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) &&
	       !c->set(curl, CURLOPT_ERRORBUFFER, client->why) &&
	       !c->set(curl, CURLOPT_USERAGENT, "horcrux/" HORCRUX_VERSION);
}

struct client *client_new(const char *path, int64_t timeout_s, struct error *err)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		abort();
	client->path = path;
	client->timeout_s = timeout_s;
	if (curl_open(&client->call) && !client->call.global_init(CURL_GLOBAL_NOTHING))
		client->curl = client->call.init();
	if (client->curl && set_up(client))
		return client;
	client_free(client);
	error_set(err, ERROR_INTERNAL, "libcurl cannot be used");
	error_hint(err, "install it: apt install libcurl3-gnutls");
	return NULL;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	if (client->curl)
		client->call.cleanup(client->curl);
	free(client);
}

bool client_reachable(const char *path, const char **why)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(to.sun_path))
		return true; /* let the call itself say what is wrong */
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

	client->call.get(client->curl, CURLINFO_OS_ERRNO, &os_errno);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		if (os_errno)
			error_errno(err, ERROR_UNREACHABLE, (int)os_errno,
				    "no daemon answers at %s", client->path);
		else
			error_set(err, ERROR_UNREACHABLE, "no daemon answers at %s", client->path);
		if (os_errno == EACCES)
			return error_hint(err, "root and members of group horcrux may ask it");
		return error_hint(err, "see: systemctl status horcruxd");
	case CURLE_OPERATION_TIMEDOUT:
		error_set(err, ERROR_UNREACHABLE, "the daemon at %s did not answer in time",
			  client->path);
		return error_hint(err,
				  "what was asked may still be done; see: journalctl -u horcruxd");
	case CURLE_WRITE_ERROR:
		return error_set(err, ERROR_INTERNAL, "the answer of the daemon at %s has no end",
				 client->path);
	default:
		error_set(err, ERROR_UNREACHABLE,
			  "the daemon at %s went away before it had answered: %s", client->path,
			  client->why[0] ? client->why : client->call.strerror(code));
		return error_hint(
			err,
			"what was asked may be done all the same; see: journalctl -u horcruxd");
	}
}

/* Without "Expect", which would wait for an answer to the headers alone. */
static struct curl_slist *headers_of(const struct client *client, const struct call *call)
{
	struct curl_slist *headers = client->call.append(NULL, "Expect:");
	char text[128];

	if (call->body)
		headers = client->call.append(headers, "Content-Type: application/json");
	snprintf(text, sizeof(text), "Accept: %s", call->accept ?: "application/json");
	headers = client->call.append(headers, text);
	snprintf(text, sizeof(text), "Prefer: %s", call->prefer ?: "");
	return call->prefer ? client->call.append(headers, text) : headers;
}

static bool set_call(struct client *client, const struct call *call, const char *url,
		     struct curl_slist *headers, struct strbuf *body)
{
	const struct curl_calls *c = &client->call;
	CURL *curl = client->curl;
	bool get = !strcmp(call->method, "GET");

	if (c->set(curl, CURLOPT_URL, url) || c->set(curl, CURLOPT_HTTPHEADER, headers) ||
	    c->set(curl, CURLOPT_TIMEOUT_MS, (long)(client->timeout_s * 1000)) ||
	    c->set(curl, CURLOPT_WRITEFUNCTION, take_bytes) ||
	    c->set(curl, CURLOPT_WRITEDATA, body))
		return false;
	if (get)
		return !c->set(curl, CURLOPT_HTTPGET, 1L) &&
		       !c->set(curl, CURLOPT_CUSTOMREQUEST, NULL);
	return !c->set(curl, CURLOPT_POSTFIELDS, call->body ?: "") &&
	       !c->set(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body ?: "")) &&
	       !c->set(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static bool perform(struct client *client, const struct call *call, const char *url,
		    struct strbuf *body, CURLcode *code)
{
	struct curl_slist *headers = headers_of(client, call);

	client->why[0] = '\0';
	*code = CURLE_FAILED_INIT;
	if (set_call(client, call, url, headers, body))
		*code = client->call.perform(client->curl);
	client->call.free_all(headers);
	return *code == CURLE_OK;
}

static int read_answer(struct strbuf *body, long status, bool as_it_is, struct answer *ret,
		       struct failure *why)
{
	json_error_t where;
	json_t *json = NULL;

	if (body->len)
		json = json_loadb(body->text, body->len, JSON_DECODE_ANY, &where);
	if (status >= 200 && status < 300 && (json || !body->len || as_it_is)) {
		ret->status = (int)status;
		ret->json = json;
		ret->n = body->len;
		ret->bytes = strbuf_take(body);
		return 0;
	}
	error_set(&why->error, ERROR_INTERNAL, "the daemon answered with status %ld and no %s",
		  status, status >= 400 ? "reason" : "JSON");
	error_hint(&why->error, "is what listens there a Horcrux daemon of this version?");
	if (status >= 400 && json_is_object(json))
		why->problem = json;
	else
		json_decref(json);
	return -1;
}

int client_call(struct client *client, const struct call *call, struct answer *ret,
		struct failure *why)
{
	CLEAN_STRBUF struct strbuf body = STRBUF_INIT(BODY_MAX);
	char url[256];
	CURLcode code;
	long status = 0;

	snprintf(url, sizeof(url), "http://localhost%s", call->path);
	if (!perform(client, call, url, &body, &code))
		return unreachable(client, code, why);
	client->call.get(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return read_answer(&body, status, call->accept, ret, why);
}
