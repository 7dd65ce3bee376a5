/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See logfile.h. A line is 16 hex digits (the first half of the SHA-256 of the rest), a blank, the
 * record, a newline. What a crash can leave is a last line cut short, or one whose length is on
 * disk and whose bytes are not; both fail the check.
 */
#include "plan/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "plan/journal.h"

enum { SUM_BYTES = 8, SUM_TEXT = 2 * SUM_BYTES, FILE_MAX = 256 << 20 };

#define FILE_NAME "journal"
#define FILE_NEW "journal.new"

static int failed(struct logfile *file, int errno_value, const char *what, struct error *err)
{
	error_errno(err, ERROR_STORE, errno_value, "the journal %s cannot be %s", file->path, what);
	return error_hint(err, errno_value == ENOSPC || errno_value == EDQUOT ?
				       "make room on its file system, then ask again" :
				       "look at its file system and at who may write there");
}

static void checksum(const char *text, size_t n, char out[static SUM_TEXT + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[32];

	gnutls_hash_fast(GNUTLS_DIG_SHA256, text, n, sum);
	for (size_t i = 0; i < SUM_BYTES; i++) {
		*out++ = digits[sum[i] >> 4];
		*out++ = digits[sum[i] & 15];
	}
	*out = '\0';
}

/* One line without its newline. A new reference, or NULL when it is damaged. */
static json_t *parse_line(const char *line, size_t n)
{
	char sum[SUM_TEXT + 1];
	json_t *record;

	if (n < SUM_TEXT + 2 || line[SUM_TEXT] != ' ')
		return NULL;
	checksum(line + SUM_TEXT + 1, n - SUM_TEXT - 1, sum);
	if (memcmp(sum, line, SUM_TEXT))
		return NULL;
	record = json_loadb(line + SUM_TEXT + 1, n - SUM_TEXT - 1, 0, NULL);
	if (json_is_object(record))
		return record;
	json_decref(record);
	return NULL;
}

static int format_line(struct strbuf *sb, json_t *record, struct error *err)
{
	CLEAN_FREE char *text = json_dumps(record, JSON_COMPACT);
	char sum[SUM_TEXT + 1];

	if (!text || strlen(text) > JOURNAL_LINE_MAX)
		return error_set(err, ERROR_TOO_LARGE, "a record is too large for the journal");
	checksum(text, strlen(text), sum);
	strbuf_add(sb, sum);
	strbuf_add(sb, " ");
	strbuf_add(sb, text);
	strbuf_add(sb, "\n");
	return sb->failed ? error_set(err, ERROR_TOO_LARGE, "the journal is too large") : 0;
}

/* The whole file, malloc'd. */
static char *read_all(struct logfile *file, size_t *n, struct error *err)
{
	CLEAN_FREE char *bytes = NULL;
	struct stat st;
	size_t have = 0;
	ssize_t got = 1;

	if (fstat(file->fd, &st) < 0 || st.st_size > FILE_MAX) {
		failed(file, EFBIG, "read", err);
		return NULL;
	}
	bytes = malloc((size_t)st.st_size + 1);
	while (bytes && have < (size_t)st.st_size && got > 0) {
		got = pread(file->fd, bytes + have, (size_t)st.st_size - have, (off_t)have);
		if (got > 0)
			have += (size_t)got;
	}
	if (!bytes || got < 0) {
		failed(file, bytes ? errno : ENOMEM, "read", err);
		return NULL;
	}
	*n = have;
	return TAKE_PTR(bytes);
}

static int damaged(struct logfile *file, size_t line, struct error *err)
{
	error_set(err, ERROR_STORE, "line %zu of the journal %s is damaged, and more follow it",
		  line, file->path);
	return error_hint(err,
			  "it is left as it is; what was being done then has to be looked at by "
			  "hand, after that move the file away");
}

/* Hands out every good record; *good is where the last one ends. */
static int replay(struct logfile *file, logfile_reader *reader, void *data, size_t *good,
		  struct error *err)
{
	CLEAN_FREE char *bytes = NULL;
	size_t n, at = 0, number = 1;
	json_t *record;
	char *end;

	bytes = read_all(file, &n, err);
	if (!bytes)
		return -1;
	for (; at < n; at = (size_t)(end - bytes) + 1, number++) {
		end = memchr(bytes + at, '\n', n - at);
		if (!end)
			break;
		record = parse_line(bytes + at, (size_t)(end - bytes) - at);
		if (!record && end + 1 < bytes + n)
			return damaged(file, number, err);
		if (!record)
			break;
		reader(data, record);
		json_decref(record);
	}
	*good = at;
	return 0;
}

static int open_directory(struct logfile *file, const char *directory, struct error *err)
{
	snprintf(file->path, sizeof(file->path), "%s/" FILE_NAME, directory);
	file->dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->dir < 0)
		return failed(file, errno, "opened", err);
	if (!flock(file->dir, LOCK_EX | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return failed(file, errno, "locked", err);
	error_set(err, ERROR_STORE, "another process uses the journal %s", file->path);
	return error_hint(err, "only one daemon may run on one state directory");
}

int logfile_open(struct logfile *file, const char *directory, logfile_reader *reader, void *data,
		 struct error *err)
{
	size_t good = 0;

	*file = (struct logfile)LOGFILE_CLOSED;
	if (open_directory(file, directory, err) < 0)
		return -1;
	file->fd = openat(file->dir, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->fd < 0)
		return failed(file, errno, "opened", err);
	if (replay(file, reader, data, &good, err) < 0)
		return -1;
	file->size = lseek(file->fd, 0, SEEK_END);
	if (file->size == (off_t)good && good)
		return 0;
	if (ftruncate(file->fd, (off_t)good) < 0 || fsync(file->fd) < 0 || fsync(file->dir) < 0)
		return failed(file, errno, "written", err);
	file->size = (off_t)good;
	return 0;
}

void logfile_close(struct logfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->dir >= 0)
		close(file->dir);
	*file = (struct logfile)LOGFILE_CLOSED;
}

static int write_at(int fd, const char *text, size_t n, off_t at)
{
	ssize_t put;

	while (n) {
		put = pwrite(fd, text, n, at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		text += put;
		at += put;
		n -= (size_t)put;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

int logfile_append(struct logfile *file, json_t *record, struct error *err)
{
	CLEAN_STRBUF struct strbuf line = STRBUF_INIT(JOURNAL_LINE_MAX + 64);
	int r = format_line(&line, record, err);

	json_decref(record);
	if (r < 0)
		return -1;
	if (file->broken)
		return failed(file, EIO, "written", err);
	r = write_at(file->fd, line.text, line.len, file->size);
	if (!r) {
		file->size += (off_t)line.len;
		return 0;
	}
	if (ftruncate(file->fd, file->size) < 0)
		file->broken = true;
	return failed(file, -r, "written", err);
}

struct rewrite {
	struct strbuf text;
	logfile_reader *keep;
	void *data;
	struct error *err;
	bool failed;
};

static bool rewrite_record(void *data, json_t *record)
{
	struct rewrite *rw = data;

	if (!rw->failed && rw->keep(rw->data, record) &&
	    format_line(&rw->text, record, rw->err) < 0)
		rw->failed = true;
	return true;
}

static int replace(struct logfile *file, const struct strbuf *text, struct error *err)
{
	CLEAN_FD int fd = openat(file->dir, FILE_NEW,
				 O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return failed(file, errno, "written", err);
	r = write_at(fd, strbuf_text(text), text->len, 0);
	if (!r && renameat(file->dir, FILE_NEW, file->dir, FILE_NAME) < 0)
		r = -errno;
	if (r) {
		unlinkat(file->dir, FILE_NEW, 0);
		return failed(file, -r, "written", err);
	}
	close(file->fd);
	file->fd = TAKE_FD(fd);
	file->size = (off_t)text->len;
	file->broken = false;
	return fsync(file->dir) < 0 ? failed(file, errno, "written", err) : 0;
}

int logfile_rewrite(struct logfile *file, json_t *first, logfile_reader *keep, void *data,
		    struct error *err)
{
	struct rewrite rw = { STRBUF_INIT(FILE_MAX), keep, data, err, false };
	size_t good, i;
	json_t *record;
	int r = 0;

	json_array_foreach(first, i, record)
		if (r >= 0)
			r = format_line(&rw.text, record, err);
	if (r >= 0 && keep)
		r = replay(file, rewrite_record, &rw, &good, err);
	if (r >= 0)
		r = rw.failed ? -1 : replace(file, &rw.text, err);
	strbuf_finish(&rw.text);
	return r;
}
