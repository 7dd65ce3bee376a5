/* SPDX-License-Identifier: Apache-2.0 */
/* See described.h. */
#include "unit.h"

#include <arpa/inet.h>

#include "base/strbuf.h"
#include "described.h"
#include "host/critical.h"

enum { LINE_MAX_BYTES = 1024, TEXT_MAX_BYTES = 65536, PATH_BYTES = 768 };

static const struct tree_function functions[] = {
	{ "pci0000:00/0000:00:01.0", 0x8086, 0x1901, 0x060400, "pcieport", 1 },
	{ "pci0000:00/0000:00:03.0", 0x8086, 0x1903, 0x060400, "pcieport", 3 },
	{ "pci0000:00/0000:00:04.0", 0x8086, 0x1904, 0x060400, "pcieport", 4 },
	{ "pci0000:00/0000:00:05.0", 0x8086, 0x1905, 0x060400, "pcieport", 5 },
	{ "pci0000:00/0000:00:06.0", 0x8086, 0x1906, 0x060400, "pcieport", 6 },
	{ "pci0000:00/0000:00:07.0", 0x8086, 0x1907, 0x060400, "pcieport", 7 },
	{ "pci0000:00/0000:00:14.0", 0x8086, 0xa12f, 0x0c0330, "xhci_hcd", 14 },
	{ "pci0000:00/0000:00:17.0", 0x8086, 0xa102, 0x010601, "ahci", 17 },
	{ "pci0000:00/0000:00:01.0/0000:01:00.0", 0x10de, 0x1b80, 0x030000, "nvidia", 10 },
	{ "pci0000:00/0000:00:01.0/0000:01:00.1", 0x10de, 0x10f0, 0x040300, "snd_hda_intel", 10 },
	{ "pci0000:00/0000:00:03.0/0000:03:00.0", 0x144d, 0xa808, 0x010802, "nvme", 30 },
	{ "pci0000:00/0000:00:04.0/0000:04:00.0", 0x144d, 0xa808, 0x010802, "nvme", 40 },
	{ "pci0000:00/0000:00:05.0/0000:05:00.0", 0x8086, 0x1528, 0x020000, "ixgbe", 50 },
	{ "pci0000:00/0000:00:06.0/0000:06:00.0", 0x8086, 0x1528, 0x020000, "ixgbe", 60 },
	{ "pci0000:00/0000:00:07.0/0000:07:00.0", 0x1a03, 0x2000, 0x030000, "ast", 70 },
};

struct making {
	struct tree *tree;
	struct strbuf mountinfo, swaps, route, route6, tcp, tcp6;
};

/* Is it in the text, or one of the cards, or a bridge above one of these? */
static bool is_wanted(const struct tree_function *f, const char *text)
{
	const char *address = strrchr(f->path, '/') + 1;

	if (f->class >> 16 == 0x03 || strstr(text, address))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(functions) && f->class >> 8 == 0x0604; i++)
		if (&functions[i] != f && strstr(functions[i].path, address) &&
		    is_wanted(&functions[i], text))
			return true;
	return false;
}

static const char *path_of(const char *address)
{
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		if (!strcmp(strrchr(functions[i].path, '/') + 1, address))
			return functions[i].path;
	fprintf(stderr, "described: no function %s\n", address);
	abort();
}

/* An entry of a class: the directory, and the link to it. */
static void add_class(struct making *m, const char *class, const char *name, const char *device)
{
	char path[PATH_BYTES], target[PATH_BYTES];

	snprintf(path, sizeof(path), "sys/devices/%s", device);
	tree_dir(m->tree, path);
	snprintf(path, sizeof(path), "sys/class/%s/%s", class, name);
	snprintf(target, sizeof(target), "../../devices/%s", device);
	tree_link(m->tree, path, target);
}

static void add_file(struct making *m, const char *class, const char *name, const char *file,
		     const char *text)
{
	char path[PATH_BYTES], target[PATH_BYTES];
	ssize_t n;

	/* written at the place itself: the tree makes no directories through links */
	snprintf(path, sizeof(path), "%s/sys/class/%s/%s", m->tree->path, class, name);
	n = readlink(path, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = '\0';
	snprintf(path, sizeof(path), "sys/%s/%s", target + strlen("../../"), file);
	tree_file(m->tree, path, text);
}

static void do_disk(struct making *m, char *const *w)
{
	char device[PATH_BYTES];

	snprintf(device, sizeof(device), "%s/host0/block/%s", path_of(w[2]), w[1]);
	add_class(m, "block", w[1], device);
	add_file(m, "block", w[1], "dev", w[3]);
	add_file(m, "block", w[1], "size", "2000409264\n");
}

static void do_part(struct making *m, char *const *w)
{
	char path[PATH_BYTES], target[PATH_BYTES], device[2 * PATH_BYTES];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/sys/class/block/%s", m->tree->path, w[2]);
	n = readlink(path, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = '\0';
	snprintf(device, sizeof(device), "%s/%s", target + strlen("../../devices/"), w[1]);
	add_class(m, "block", w[1], device);
	add_file(m, "block", w[1], "dev", w[3]);
	add_file(m, "block", w[1], "partition", "1\n");
}

static void do_virt(struct making *m, char *const *w)
{
	char device[PATH_BYTES];

	snprintf(device, sizeof(device), "virtual/block/%s", w[1]);
	add_class(m, "block", w[1], device);
	add_file(m, "block", w[1], "dev", w[2]);
}

static void do_on(struct making *m, char *const *w)
{
	char file[PATH_BYTES];

	snprintf(file, sizeof(file), "holders/%s", w[1]);
	add_file(m, "block", w[2], file, "");
	snprintf(file, sizeof(file), "slaves/%s", w[2]);
	add_file(m, "block", w[1], file, "");
}

static void do_dm(struct making *m, char *const *w)
{
	add_file(m, "block", w[1], "dm/name", w[2]);
	add_file(m, "block", w[1], "dm/uuid", w[3]);
}

static void do_mount(struct making *m, char *const *w)
{
	strbuf_printf(&m->mountinfo, "30 1 %s / %s rw,relatime shared:1 - %s %s %s\n", w[1], w[2],
		      w[3], w[4], w[5] ?: "rw");
}

static void do_swap(struct making *m, char *const *w)
{
	strbuf_printf(&m->swaps, "%s partition 1000 0 -2\n", w[1]);
}

static void do_net(struct making *m, char *const *w)
{
	char device[PATH_BYTES];

	snprintf(device, sizeof(device), "%s/net/%s", path_of(w[2]), w[1]);
	add_class(m, "net", w[1], device);
	add_file(m, "net", w[1], "flags", "0x1003\n");
}

static void do_vnet(struct making *m, char *const *w)
{
	char device[PATH_BYTES];

	snprintf(device, sizeof(device), "virtual/net/%s", w[1]);
	add_class(m, "net", w[1], device);
	add_file(m, "net", w[1], "flags", "0x1003\n");
}

static void do_down(struct making *m, char *const *w)
{
	add_file(m, "net", w[1], "flags", "0x1002\n");
}

static void do_over(struct making *m, char *const *w)
{
	char file[PATH_BYTES];

	snprintf(file, sizeof(file), "lower_%s", w[2]);
	add_file(m, "net", w[1], file, "");
	snprintf(file, sizeof(file), "upper_%s", w[1]);
	add_file(m, "net", w[2], file, "");
}

static uint32_t v4(const char *text)
{
	uint32_t address;

	assert_int_equal(inet_pton(AF_INET, text, &address), 1);
	return address;
}

static void do_route(struct making *m, char *const *w)
{
	char *slash = strchr(w[2], '/');
	unsigned prefix;

	assert_non_null(slash);
	*slash = '\0';
	prefix = (unsigned)atoi(slash + 1);
	strbuf_printf(&m->route, "%s\t%08X\t%08X\t0003\t0\t0\t100\t%08X\t0\t0\t0\n", w[1], v4(w[2]),
		      v4("10.0.0.1"), prefix ? htonl(~UINT32_C(0) << (32 - prefix)) : 0);
}

static void do_route6(struct making *m, char *const *w)
{
	char *slash = strchr(w[2], '/');
	uint8_t to[16];

	assert_non_null(slash);
	*slash = '\0';
	assert_int_equal(inet_pton(AF_INET6, w[2], to), 1);
	for (size_t i = 0; i < sizeof(to); i++)
		strbuf_printf(&m->route6, "%02x", to[i]);
	strbuf_printf(&m->route6, " %02x %032x 00 %032x 00000400 00000001 00000000 00000003 %8s\n",
		      (unsigned)atoi(slash + 1), 0, 0, w[1]);
}

/* "ADDRESS:PORT" as the kernel writes it. */
static void add_end(struct strbuf *sb, char *end)
{
	char *colon = strrchr(end, ':');
	uint32_t words[4];

	assert_non_null(colon);
	*colon = '\0';
	if (strchr(end, ':')) {
		assert_int_equal(inet_pton(AF_INET6, end, words), 1);
		for (int i = 0; i < 4; i++)
			strbuf_printf(sb, "%08X", words[i]);
	} else {
		strbuf_printf(sb, "%08X", v4(end));
	}
	strbuf_printf(sb, ":%04X ", (unsigned)atoi(colon + 1));
}

static void do_tcp(struct making *m, char *const *w)
{
	struct strbuf *sb = strchr(strchr(w[1], ':') + 1, ':') ? &m->tcp6 : &m->tcp;

	strbuf_add(sb, "   0: ");
	add_end(sb, w[1]);
	add_end(sb, w[2]);
	strbuf_printf(sb, "%02X 00000000:00000000 00:00000000 00000000     0        0 %s 1\n",
		      (unsigned)atoi(w[3]), w[4]);
}

static void do_process(struct making *m, char *const *w)
{
	char path[PATH_BYTES], text[PATH_BYTES];

	snprintf(path, sizeof(path), "proc/%s/stat", w[1]);
	snprintf(text, sizeof(text),
		 "%s (%s) S 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 0", w[1], w[2]);
	tree_file(m->tree, path, text);
	snprintf(path, sizeof(path), "proc/%s/comm", w[1]);
	tree_file(m->tree, path, w[2]);
	snprintf(path, sizeof(path), "proc/%s/fd", w[1]);
	tree_dir(m->tree, path);
}

static void do_open(struct making *m, char *const *w)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "proc/%s/fd/%s", w[1], w[2]);
	tree_link(m->tree, path, w[3]);
}

static void do_file(struct making *m, char *const *w)
{
	char text[LINE_MAX_BYTES];
	size_t at = 0;

	for (int i = 2; w[i]; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i > 2 ? " " : "",
				       w[i]);
	snprintf(text + at, sizeof(text) - at, "\n");
	tree_file(m->tree, w[1], text);
}

/* described_make() sees that it is there. */
static void do_has(struct making *m, char *const *w)
{
	(void)m;
	path_of(w[1]);
}

static void do_link(struct making *m, char *const *w)
{
	tree_link(m->tree, w[1], w[2]);
}

static void do_dir(struct making *m, char *const *w)
{
	tree_dir(m->tree, w[1]);
}

static const struct {
	const char *word;
	int fields; /* at least, behind the word */
	void (*make)(struct making *m, char *const *w);
} words[] = {
	{ "dir", 1, do_dir },	    { "disk", 3, do_disk },	  { "dm", 3, do_dm },
	{ "down", 1, do_down },	    { "file", 1, do_file },	  { "has", 1, do_has },
	{ "link", 2, do_link },	    { "mount", 4, do_mount },	  { "net", 2, do_net },
	{ "on", 2, do_on },	    { "open", 3, do_open },	  { "over", 2, do_over },
	{ "part", 3, do_part },	    { "process", 2, do_process }, { "route", 2, do_route },
	{ "route6", 2, do_route6 }, { "swap", 1, do_swap },	  { "tcp", 4, do_tcp },
	{ "virt", 2, do_virt },	    { "vnet", 1, do_vnet },
};

enum { FIELDS_MAX = 24 };

/* Cuts the line into words; NULL behind the last. */
static int split(char *line, char *fields[static FIELDS_MAX])
{
	char *word;
	int n = 0;

	while ((word = strsep(&line, " \t")))
		if (*word && n < FIELDS_MAX - 1)
			fields[n++] = word;
	fields[n] = NULL;
	return n;
}

static void do_line(struct making *m, char *line)
{
	char *fields[FIELDS_MAX];
	int n = split(line, fields);

	if (!n || !strcmp(fields[0], "drop"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].word, fields[0]))
			continue;
		assert_true(n > words[i].fields);
		words[i].make(m, fields);
		return;
	}
	fprintf(stderr, "described: what is \"%s\"?\n", fields[0]);
	abort();
}

static void write_tables(struct making *m)
{
	const struct {
		const char *path;
		struct strbuf *text;
	} files[] = {
		{ "proc/1/mountinfo", &m->mountinfo }, { "proc/swaps", &m->swaps },
		{ "proc/net/route", &m->route },       { "proc/net/ipv6_route", &m->route6 },
		{ "proc/net/tcp", &m->tcp },	       { "proc/net/tcp6", &m->tcp6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		tree_file(m->tree, files[i].path, strbuf_text(files[i].text));
		strbuf_finish(files[i].text);
	}
}

/* Lines that must come last, once everything is there. */
static void drop_files(struct tree *tree, char *text)
{
	char *line, *fields[FIELDS_MAX];

	while ((line = strsep(&text, "\n")))
		if (split(line, fields) && !strcmp(fields[0], "drop"))
			tree_drop(tree, fields[1]);
}

void described_make(struct described *host, const char *text)
{
	struct making m = {
		.tree = &host->tree,
		.mountinfo = STRBUF_INIT(TEXT_MAX_BYTES),
		.swaps = STRBUF_INIT(TEXT_MAX_BYTES),
		.route = STRBUF_INIT(TEXT_MAX_BYTES),
		.route6 = STRBUF_INIT(TEXT_MAX_BYTES),
		.tcp = STRBUF_INIT(TEXT_MAX_BYTES),
		.tcp6 = STRBUF_INIT(TEXT_MAX_BYTES),
	};
	CLEAN_FREE char *lines = strdup(text), *again = strdup(text);
	char *at = lines, *line;
	struct error err;

	tree_make(&host->tree);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		if (is_wanted(&functions[i], text))
			tree_function(&host->tree, &functions[i]);
	tree_dir(&host->tree, "sys/class/block");
	tree_dir(&host->tree, "sys/class/net");
	tree_dir(&host->tree, "proc/1/fd");
	strbuf_add(&m.swaps, "Filename Type Size Used Priority\n");
	strbuf_add(&m.route,
		   "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n");
	strbuf_add(&m.tcp, "  sl  local_address rem_address   st tx_queue rx_queue\n");
	while ((line = strsep(&at, "\n")))
		do_line(&m, line);
	write_tables(&m);
	drop_files(&host->tree, again);
	host->arena = arena_new();
	host->inv = inventory_build(&host->tree.root, &(struct class_filter){ 0 }, NULL, NULL,
				    &(struct inventory_changes){ .all = true }, &err);
	assert_non_null(host->inv);
}

void described_remove(struct described *host)
{
	inventory_release(host->inv);
	arena_free(host->arena);
	tree_remove(&host->tree);
}

static bool line_matches(const char *line, const struct critical *fact)
{
	char address[PCI_ADDRESS_TEXT], code[32];
	int at = 0;

	assert_int_equal(sscanf(line, "%19s %31s %n", address, code, &at), 2);
	if (strcmp(code, fact->code) || !strstr(fact->why, line + at) || !*fact->evidence)
		return false;
	return !strcmp(pci_address_format(fact->address, (char[PCI_ADDRESS_TEXT]){ 0 }), address);
}

void described_expect(const struct list *critical, const char *name, const char *expected)
{
	CLEAN_FREE char *lines = strdup(expected);
	char *at = lines, *line;
	size_t n = 0, matched = 0;

	while ((line = strsep(&at, "\n"))) {
		if (!*line)
			continue;
		n++;
		for (LIST_EACH(struct critical, fact, critical)) {
			if (line_matches(line, fact)) {
				matched++;
				break;
			}
		}
	}
	if (n == matched && n == critical->n)
		return;
	print_error("%s: expected\n%s\nfound\n", name, expected);
	for (LIST_EACH(struct critical, fact, critical))
		print_error("%s %s %s  [%s]\n",
			    pci_address_format(fact->address, (char[PCI_ADDRESS_TEXT]){ 0 }),
			    fact->code, fact->why, fact->evidence);
	fail();
}

static bool is_same(const struct critical *a, const struct critical *b)
{
	return pci_address_equal(a->address, b->address) && !strcmp(a->code, b->code) &&
	       !strcmp(a->why, b->why) && !strcmp(a->evidence, b->evidence);
}

/* The facts of one function, in their order. */
static struct list facts_of(struct described *host, const struct list *critical,
			    struct pci_address address)
{
	struct list found = { 0 };

	for (LIST_EACH(struct critical, fact, critical))
		if (pci_address_equal(fact->address, address))
			*list_add(host->arena, &found, struct critical) = *fact;
	return found;
}

static void expect_same_of(struct described *host, const char *name, const struct list *whole,
			   const struct list *halves, struct pci_address address)
{
	struct list expected = facts_of(host, whole, address);
	struct list found = facts_of(host, halves, address);
	bool same = expected.n == found.n;

	for (size_t i = 0; same && i < found.n; i++)
		same = is_same((struct critical *)expected.items + i,
			       (struct critical *)found.items + i);
	if (same)
		return;
	print_error("%s: of %s, asked in halves\n", name,
		    pci_address_format(address, (char[PCI_ADDRESS_TEXT]){ 0 }));
	for (LIST_EACH(struct critical, fact, &found))
		print_error("%s %s  [%s]\n", fact->code, fact->why, fact->evidence);
	fail();
}

static struct list ask_halves(struct described *host, const struct list *addresses)
{
	struct list found;
	struct error err;

	assert_true(critical_carried(&host->tree.root, addresses, host->arena, &found, &err) ==
		    (int)found.n);
	critical_displays(&host->tree.root, host->inv, addresses, host->arena, &found);
	return found;
}

void described_expect_same(struct described *host, const char *name, const struct list *critical)
{
	struct list all = { 0 }, found;

	for (LIST_EACH(struct function *, f, &host->inv->functions)) {
		struct list one = { .items = &(*f)->address, .n = 1 };

		*list_add(host->arena, &all, struct pci_address) = (*f)->address;
		found = ask_halves(host, &one);
		expect_same_of(host, name, critical, &found, (*f)->address);
	}
	found = ask_halves(host, &all);
	for (LIST_EACH(struct function *, f, &host->inv->functions))
		expect_same_of(host, name, critical, &found, (*f)->address);
	assert_int_equal(found.n, critical->n);
}
