/* SPDX-License-Identifier: Apache-2.0 */
/* See id.h. */
#include "base/id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <time.h>

static sd_id128_t random_id(void)
{
	sd_id128_t id;

	if (sd_id128_randomize(&id) < 0)
		abort();
	return id;
}

char *id_uuid(char buf[static ID_TEXT])
{
	snprintf(buf, ID_TEXT, SD_ID128_UUID_FORMAT_STR, SD_ID128_FORMAT_VAL(random_id()));
	return buf;
}

char *id_short(const char *prefix, char buf[static ID_TEXT])
{
	sd_id128_t id = random_id();

	snprintf(buf, ID_TEXT, "%.20s%016llx", prefix, (unsigned long long)id.qwords[0]);
	return buf;
}

char *time_now(char buf[static TIME_TEXT])
{
	struct timespec now;
	struct tm utc;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	n = strftime(buf, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(buf + n, TIME_TEXT - n, ".%03ldZ", now.tv_nsec / 1000000);
	return buf;
}

uint64_t time_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
