/* SPDX-License-Identifier: Apache-2.0 */
/* See output.h. */
#include "cli/output.h"

#include <langinfo.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

enum { LABEL_COLUMNS = 20, WIDTH_LEAST = 40 };

static int terminal_width(void)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return 80;
	return size.ws_col < WIDTH_LEAST ? WIDTH_LEAST : size.ws_col;
}

void terminal_look(struct terminal *out)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	out->tty = isatty(STDOUT_FILENO);
	out->colors = out->tty && !(no_color && *no_color) && term && strcmp(term, "dumb");
	out->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	out->width = out->tty ? terminal_width() : 0;
}

/* Length of the UTF-8 sequence at s and its value; 0 when there is none (overlong ones included).
 */
static size_t utf8_next(const unsigned char *s, uint32_t *value)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *s < 0x80		 ? 1
		   : (*s & 0xe0) == 0xc0 ? 2
		   : (*s & 0xf0) == 0xe0 ? 3
		   : (*s & 0xf8) == 0xf0 ? 4
					 : 0;
	uint32_t v = n == 1 ? *s : n ? *s & (0x7f >> n) : 0;

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if (!n || v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	*value = v;
	return n;
}

/* C0, DEL, C1; line and paragraph separators; marks and overrides of direction. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

const char *text_safe(const struct cli *cli, const char *s)
{
	char *copy, *to;
	uint32_t c = 0;
	size_t n;

	if (!s)
		return NULL;
	copy = to = arena_alloc(cli->arena, strlen(s) + 1, 1);
	for (const unsigned char *from = (const unsigned char *)s; *from; from += n ?: 1) {
		n = utf8_next(from, &c);
		if (!n || is_control(c) || (n > 1 && !cli->out.utf8)) {
			*to++ = '?';
			continue;
		}
		memcpy(to, from, n);
		to += n;
	}
	*to = '\0';
	return copy;
}

const char *json_text(const struct cli *cli, const json_t *object, const char *key)
{
	return text_safe(cli, json_string_value(json_object_get(object, key)));
}

int64_t json_number(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

const char *json_reason(const struct cli *cli, const json_t *object, const char *key)
{
	return json_text(cli, json_object_get(object, "unknown"), key);
}

void print_title(struct cli *cli, const char *fmt, ...)
{
	va_list args;

	if (cli->printed)
		putchar('\n');
	cli->printed = true;
	if (cli->out.colors)
		fputs("\033[1m", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	fputs(cli->out.colors ? "\033[0m\n" : "\n", stdout);
}

/* Bytes that fit into `room` columns, ending before a space where there is one. */
static size_t fold_at(const char *text, size_t room)
{
	size_t columns = 0, at = 0, space = 0;

	for (; text[at]; at++) {
		if ((text[at] & 0xc0) == 0x80)
			continue;
		if (columns++ == room)
			break;
		if (text[at] == ' ')
			space = at;
	}
	if (!text[at] || text[at] == ' ')
		return at;
	return space ? space : at;
}

void print_folded_after(const struct cli *cli, FILE *to, int indent, const char *text)
{
	size_t room = cli->out.width > indent + 20 ? (size_t)(cli->out.width - indent) : SIZE_MAX;
	size_t n;

	for (;;) {
		n = fold_at(text, room);
		fwrite(text, 1, n, to);
		fputc('\n', to);
		text += n;
		while (*text == ' ')
			text++;
		if (!*text)
			return;
		fprintf(to, "%*s", indent, "");
	}
}

void print_folded(const struct cli *cli, FILE *to, int indent, const char *text)
{
	fprintf(to, "%*s", indent, "");
	print_folded_after(cli, to, indent, text);
}

void print_field(const struct cli *cli, const char *label, const char *value)
{
	printf("  %-*s ", LABEL_COLUMNS, label);
	print_folded_after(cli, stdout, LABEL_COLUMNS + 3, value);
}

void print_text(const struct cli *cli, const json_t *object, const char *label, const char *key)
{
	const char *text = json_text(cli, object, key);

	if (text)
		print_field(cli, label, text);
}

void print_item(const struct cli *cli, const char *text)
{
	fputs("  - ", stdout);
	print_folded_after(cli, stdout, 4, text);
}

void print_json(const struct cli *cli, const char *bytes, size_t n)
{
	json_t *json = cli->out.tty ? json_loadb(bytes, n, JSON_DECODE_ANY, NULL) : NULL;

	if (json)
		json_dumpf(json, stdout, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	else
		fwrite(bytes, 1, n, stdout);
	if (json || !n || bytes[n - 1] != '\n')
		putchar('\n');
	json_decref(json);
}

void print_lines(const struct cli *cli, const char *text)
{
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		puts(text_safe(cli, arena_strndup(cli->arena, text, n)));
	}
}
