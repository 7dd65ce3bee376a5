/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See config.h. inih reads the lines, but it cuts long ones and lets a repeated key overwrite
 * without a word: so long lines are found before it runs, and its handler keeps count of keys.
 */
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ini.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strbuf.h"

#define KEY(field) offsetof(struct config, field)

const struct config_key config_keys[] = {
	/* keep sorted */
	{ "extra_classes", CONFIG_CLASS_LIST, NULL, 0,
	  "other PCI classes that count as cards here: 4 hex digits each, with commas" },
	{ "group", CONFIG_TEXT, "horcrux", KEY(group), "group whose members may use this" },
	{ "host_root", CONFIG_TEXT, "/", KEY(host_root),
	  "directory that stands for / when looking at the host" },
	{ "libvirt", CONFIG_TEXT, NULL, KEY(libvirt),
	  "libvirt URI, or none; by default qemu:///system, and none with another host_root" },
	{ "listen", CONFIG_TEXT, "127.0.0.1:8006", KEY(listen),
	  "loopback ADDRESS:PORT, or none for the Unix socket alone" },
	{ "log_level", CONFIG_LEVEL, "info", KEY(log_level),
	  "error, warning, notice, info or debug" },
	{ "node", CONFIG_TEXT, NULL, KEY(node), "name of this host; by default its host name" },
	{ "rom_dirs", CONFIG_TEXT, "/usr/share/vgabios:/usr/share/kvm:/var/lib/horcrux/roms",
	  KEY(rom_dirs), "directories of option ROMs, with colons between them" },
	{ "state_dir", CONFIG_TEXT, "/var/lib/horcrux", KEY(state_dir),
	  "where lasting files are kept" },
	{ "trust_loopback", CONFIG_YES_NO, "yes", KEY(trust_loopback),
	  "let administrators of this host in over loopback TCP without a token" },
	{ 0 },
};

static const char *const levels[] = { "error", "warning", "notice", "info", "debug", NULL };

/* ---- values ---- */

static int set_value(const struct config_key *key, const char *value, struct arena *arena,
		     struct config *config, struct error *err)
{
	void *at = (char *)config + key->offset;

	switch (key->type) {
	case CONFIG_LEVEL:
		if (word_find(levels, value) < 0)
			break;
		*(const char **)at = arena_strdup(arena, value);
		return 0;
	case CONFIG_TEXT:
		if (!*value)
			break;
		*(const char **)at = arena_strdup(arena, value);
		return 0;
	case CONFIG_YES_NO:
		if (strcmp(value, "yes") && strcmp(value, "no"))
			break;
		*(int *)at = !strcmp(value, "yes");
		return 0;
	case CONFIG_CLASS_LIST:
		if (class_filter_parse(value, &config->classes) < 0)
			break;
		return 0;
	}
	error_set(err, ERROR_USAGE, "\"%s\" cannot be \"%.60s\"", key->name, value);
	return error_hint(err, "%s%s", key->type == CONFIG_YES_NO ? "yes or no: " : "", key->help);
}

static const struct config_key *find_key(const char *name)
{
	for (const struct config_key *k = config_keys; k->name; k++)
		if (!strcmp(k->name, name))
			return k;
	return NULL;
}

static uint64_t bit(const struct config_key *key)
{
	return (uint64_t)1 << (key - config_keys);
}

/* ---- the file ---- */

struct reading {
	struct arena *arena;
	struct config *config;
	uint64_t set;  /* by flags: these go before */
	uint64_t seen; /* in this file */
	struct error *err;
	bool failed;
};

static int unknown_key(const char *name, struct error *err)
{
	CLEAN_STRBUF struct strbuf names = STRBUF_INIT(330);

	for (const struct config_key *k = config_keys; k->name; k++)
		strbuf_printf(&names, "%s%s", k == config_keys ? "" : ", ", k->name);
	error_set(err, ERROR_USAGE, "there is no key \"%.60s\"", name);
	return error_hint(err, "the keys are: %s", strbuf_text(&names));
}

static int take_line(struct reading *r, const char *section, const char *name, const char *value)
{
	const struct config_key *key = find_key(name);

	if (*section)
		return error_set(r->err, ERROR_USAGE, "there are no sections, so no [%.60s]",
				 section);
	if (!key)
		return unknown_key(name, r->err);
	if (r->seen & bit(key))
		return error_set(r->err, ERROR_USAGE, "\"%s\" was set before", name);
	r->seen |= bit(key);
	if (r->set & bit(key))
		return 0;
	return set_value(key, value, r->arena, r->config, r->err);
}

/* inih goes on after an error; the first is the one it tells the line of. */
static int on_line(void *reading, const char *section, const char *name, const char *value)
{
	struct reading *r = reading;

	if (r->failed)
		return 0;
	if (!take_line(r, section, name, value))
		return 1;
	r->failed = true;
	return 0;
}

static int check_lines(const char *text, const char *path, struct error *err)
{
	int number = 1;
	size_t n;

	for (const char *line = text; *line; number++) {
		n = strcspn(line, "\n");
		if (n > CONFIG_LINE_MAX)
			return error_set(err, ERROR_USAGE, "%s, line %d: has more than %d bytes",
					 path, number, CONFIG_LINE_MAX);
		line += n + (line[n] == '\n');
	}
	return 0;
}

int config_parse(const char *text, const char *path, uint64_t set, struct arena *arena,
		 struct config *config, struct error *err)
{
	struct reading r = { arena, config, set, 0, err, false };
	int line;

	if (check_lines(text, path, err) < 0)
		return -1;
	line = ini_parse_string(text, on_line, &r);
	if (r.failed)
		return error_wrap(err, "%s, line %d", path, line);
	if (line)
		return error_set(err, ERROR_USAGE, "%s, line %d: is not \"name = value\"", path,
				 line);
	return 0;
}

/* optional: a file that is not there is an empty one. */
static int read_file(const char *path, bool optional, struct arena *arena, const char **ret,
		     struct error *err)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	ssize_t n;

	*ret = "";
	if (fd < 0 && errno == ENOENT && optional)
		return 0;
	if (fd < 0)
		return error_errno(err, ERROR_USAGE, errno, "%s cannot be opened", path);
	text = arena_alloc(arena, CONFIG_FILE_MAX + 1, 1);
	n = read(fd, text, CONFIG_FILE_MAX + 1);
	if (n < 0)
		return error_errno(err, ERROR_USAGE, errno, "%s cannot be read", path);
	if (n > CONFIG_FILE_MAX)
		return error_set(err, ERROR_USAGE, "%s has more than %d KiB", path,
				 CONFIG_FILE_MAX / 1024);
	if (memchr(text, '\0', (size_t)n))
		return error_set(err, ERROR_USAGE, "%s is not text: it has a NUL byte", path);
	text[n] = '\0';
	*ret = text;
	return 0;
}

/* ---- the command line ---- */

enum { FLAG_DEV = 256, FLAG_HELP, FLAG_VERSION, FLAG_KEY };

static char *flag_name(const char *key, struct arena *arena)
{
	char *name = arena_strdup(arena, key);

	for (char *c = name; *c; c++)
		if (*c == '_')
			*c = '-';
	return name;
}

static struct option *make_options(struct arena *arena)
{
	static const struct option fixed[] = {
		{ "dev", no_argument, NULL, FLAG_DEV },
		{ "help", no_argument, NULL, FLAG_HELP },
		{ "version", no_argument, NULL, FLAG_VERSION },
	};
	struct option *options = arena_array(arena, 64, struct option), *o = options;

	memcpy(o, fixed, sizeof(fixed));
	o += ARRAY_SIZE(fixed);
	for (const struct config_key *k = config_keys; k->name; k++)
		*o++ = (struct option){ flag_name(k->name, arena), required_argument, NULL,
					FLAG_KEY + (int)(k - config_keys) };
	return options;
}

static int take_flag(int flag, struct arena *arena, struct config *config, uint64_t *set,
		     struct error *err)
{
	const struct config_key *key;

	switch (flag) {
	case FLAG_DEV:
		config->dev = 1;
		return 0;
	case FLAG_HELP:
		config->help = 1;
		return 0;
	case FLAG_VERSION:
		config->version = 1;
		return 0;
	default:
		break;
	}
	key = &config_keys[flag - FLAG_KEY];
	if (*set & bit(key))
		return error_set(err, ERROR_USAGE, "--%s is there twice",
				 flag_name(key->name, arena));
	*set |= bit(key);
	return set_value(key, optarg, arena, config, err);
}

static int read_flags(int argc, char **argv, struct arena *arena, struct config *config,
		      uint64_t *set, struct error *err)
{
	const struct option *options = make_options(arena);
	int flag;

	opterr = 0;
	optind = 0; /* glibc: begin anew */
	while ((flag = getopt_long(argc, argv, ":", options, NULL)) >= 0) {
		if (flag == ':')
			return error_set(err, ERROR_USAGE, "%s needs a value", argv[optind - 1]);
		if (flag < FLAG_DEV) {
			error_set(err, ERROR_USAGE, "there is no flag %.60s", argv[optind - 1]);
			return error_hint(err, "horcruxd --help lists them");
		}
		if (take_flag(flag, arena, config, set, err) < 0)
			return -1;
	}
	if (optind < argc)
		return error_set(err, ERROR_USAGE, "\"%.60s\" is no flag", argv[optind]);
	return 0;
}

static int set_defaults(struct arena *arena, struct config *config, struct error *err)
{
	*config = (struct config){ 0 };
	for (const struct config_key *k = config_keys; k->name; k++)
		if (k->initial && set_value(k, k->initial, arena, config, err) < 0)
			return -1;
	return 0;
}

int config_read(int argc, char **argv, const char *system, struct arena *arena,
		struct config *config, struct error *err)
{
	const char *named = getenv("HORCRUX_CONFIG"), *text;
	const char *path = named && *named ? named : system;
	uint64_t set = 0;

	if (set_defaults(arena, config, err) < 0 ||
	    read_flags(argc, argv, arena, config, &set, err) < 0)
		return -1;
	if (config->help || config->version || (config->dev && path == system))
		return 0;
	if (read_file(path, path == system, arena, &text, err) < 0)
		return -1;
	return config_parse(text, path, set, arena, config, err);
}

void config_print_help(void)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();

	printf("horcruxd gives graphics cards to virtual machines, and takes them back.\n\n"
	       "  --dev                 foreground, for trying: as any user, on any directory "
	       "that\n"
	       "                        stands for a host's / (--host-root), with its own helper;\n"
	       "                        lets in callers of the same user; reads no " CONFIG_FILE
	       "\n"
	       "  --help, --version\n\n"
	       "Each key of " CONFIG_FILE " (or HORCRUX_CONFIG) is a flag too:\n\n");
	for (const struct config_key *k = config_keys; k->name; k++)
		printf("  --%s=VALUE\n        %s%s%s%s\n", flag_name(k->name, arena), k->help,
		       k->initial ? " [" : "", k->initial ?: "", k->initial ? "]" : "");
}
