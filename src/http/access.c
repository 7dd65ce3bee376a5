/* SPDX-License-Identifier: Apache-2.0 */
/* See access.h. */
#include "http/access.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static bool is_port(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n >= 1 && n <= 5 && !text[n];
}

static bool is_loopback_name(const char *name)
{
	struct in_addr address;

	if (!strcasecmp(name, "localhost"))
		return true;
	return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool access_host_is_local(const char *host)
{
	static const char v6[] = "[::1]";
	const size_t v6_length = sizeof(v6) - 1;
	char name[64];
	size_t n;

	if (!strncmp(host, v6, v6_length))
		return !host[v6_length] ||
		       (host[v6_length] == ':' && is_port(host + v6_length + 1));
	n = strcspn(host, ":");
	if (n >= sizeof(name) || (host[n] && !is_port(host + n + 1)))
		return false;
	memcpy(name, host, n);
	name[n] = '\0';
	return is_loopback_name(name);
}

/* The page's own origin, over plain HTTP or through a TLS terminator of the user's own. */
static bool origin_is_own(const char *origin, const char *host)
{
	static const char *const schemes[] = { "http://", "https://" };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncasecmp(origin, schemes[i], strlen(schemes[i])))
			return !strcasecmp(origin + strlen(schemes[i]), host);
	return false;
}

static bool site_is_own(const char *site)
{
	return !strcmp(site, "same-origin") || !strcmp(site, "none");
}

static int check_host(const struct access_headers *headers, struct error *err)
{
	if (headers->hosts != 1)
		return error_set(err, ERROR_BAD_REQUEST,
				 "the request has %u Host headers; it needs one", headers->hosts);
	if (access_host_is_local(headers->host))
		return 0;
	error_set(err, ERROR_FORBIDDEN, "this is not \"%.100s\"", headers->host);
	return error_hint(err,
			  "call it as localhost: a foreign Host is refused, so that no web page "
			  "can reach it under a name of its own");
}

int access_check_headers(const struct access_headers *headers, struct error *err)
{
	if (check_host(headers, err) < 0)
		return -1;
	if (headers->origin && !origin_is_own(headers->origin, headers->host)) {
		error_set(err, ERROR_FORBIDDEN, "a page of \"%.100s\" may not call this",
			  headers->origin);
		return error_hint(err,
				  "requests of web pages are taken from this server's own only");
	}
	if (headers->fetch_site && !site_is_own(headers->fetch_site)) {
		error_set(err, ERROR_FORBIDDEN, "a page of another site may not call this");
		return error_hint(err,
				  "requests of web pages are taken from this server's own only");
	}
	if (headers->forwarded) {
		error_set(err, ERROR_UNAUTHORIZED,
			  "a forwarded request (%s) says nothing of who sent it",
			  headers->forwarded);
		return error_hint(err,
				  "that needs a token, and this version has no tokens yet: call it "
				  "from this host itself");
	}
	if (headers->authorization) {
		error_set(err, ERROR_UNAUTHORIZED, "the Authorization header is not understood");
		return error_hint(
			err, "this version has no tokens yet: leave it out, and call as root or "
			     "as a member of group horcrux on this host");
	}
	return 0;
}
