/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to libvirt, against libvirt's own test driver (in the client library: no libvirtd
 * is needed) and against sockets that never answer or always hang up: what runs and whose it is,
 * news, creating and ending, storage, networks, errors, deadlines, connections lost and found
 * again. Also run with the thread sanitizer.
 */
#include "unit.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/id.h"
#include "vm/domain_xml.h"
#include "vm/libvirt_parts.h"

#define URI "test:///default"

enum { PATIENCE_MS = 10000, HEARD = 4096 };

/* ---- what libvirt's drivers of real hosts say, and the test driver does not ---- */

static atomic_int wrong_asks;

/* In place of libvirt's: as strict as its Linux part, which takes the very number that it has alone. */
int virNodeGetMemoryStats(virConnectPtr conn UNUSED, int cell UNUSED, virNodeMemoryStatsPtr params,
			  int *nparams, unsigned int flags UNUSED)
{
	static const struct {
		const char *field;
		unsigned long long kib;
	} rows[] = { { VIR_NODE_MEMORY_STATS_TOTAL, 8 << 20 },
		     { VIR_NODE_MEMORY_STATS_FREE, 1 << 20 },
		     { VIR_NODE_MEMORY_STATS_BUFFERS, 2 << 20 },
		     { VIR_NODE_MEMORY_STATS_CACHED, 4 << 20 } };

	if (!*nparams) {
		*nparams = ARRAY_SIZE(rows);
		return 0;
	}
	if (*nparams != ARRAY_SIZE(rows)) {
		atomic_fetch_add(&wrong_asks, 1);
		return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(params[i].field, sizeof(params[i].field), "%s", rows[i].field);
		params[i].value = rows[i].kib;
	}
	return 0;
}

/* Set: whoever registers for events is told that he is, and hears nothing. */
static atomic_int mute;

/* In place of libvirt's, and by way of it. */
int virConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int id,
				     virConnectDomainEventGenericCallback callback, void *opaque,
				     virFreeCallback freecb)
{
	__typeof__(virConnectDomainEventRegisterAny) *real;

	*(void **)&real = dlsym(RTLD_NEXT, "virConnectDomainEventRegisterAny");
	assert_non_null(real);
	return atomic_load(&mute) ? 1000 + id : real(conn, dom, id, callback, opaque, freecb);
}

/* ---- what was told ---- */

struct heard {
	char name[80];
	enum virt_state state;
	bool gone;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct heard heard[HEARD];
static size_t n_heard;
static unsigned n_connected;

/* News of "holder" keeps whoever tells it until it is let go. */
static sem_t let_go;

static void on_domain(void *data UNUSED, const char *name, enum virt_state state, bool gone)
{
	if (!strcmp(name, "holder") && !gone)
		while (sem_wait(&let_go) < 0)
			;
	pthread_mutex_lock(&lock);
	if (n_heard < HEARD) {
		snprintf(heard[n_heard].name, sizeof(heard->name), "%s", name);
		heard[n_heard].state = state;
		heard[n_heard++].gone = gone;
	}
	pthread_mutex_unlock(&lock);
}

static void on_connected(void *data UNUSED)
{
	pthread_mutex_lock(&lock);
	n_connected++;
	pthread_mutex_unlock(&lock);
}

static const struct virt_events events = { NULL, on_domain, on_connected };

static void forget(void)
{
	pthread_mutex_lock(&lock);
	n_heard = 0;
	n_connected = 0;
	pthread_mutex_unlock(&lock);
}

static unsigned times_connected(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = n_connected;
	pthread_mutex_unlock(&lock);
	return n;
}

static unsigned times_heard(const char *name, enum virt_state state, bool gone)
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < n_heard; i++)
		n += !strcmp(heard[i].name, name) && heard[i].state == state &&
		     heard[i].gone == gone;
	pthread_mutex_unlock(&lock);
	return n;
}

static void moment(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* Wait until it holds; the test fails when it does not in a long time. */
#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t until_ = time_monotonic_ms() + PATIENCE_MS;                               \
		while (!(condition) && time_monotonic_ms() < until_)                               \
			moment();                                                                  \
		assert_true(condition);                                                            \
	} while (0)

/* ---- a test's own world ---- */

static struct arena *arena;
static struct virt *virt;
static virConnectPtr other; /* somebody else at the same libvirt */
static struct virt_timing usual;

static int begin_pausing(unsigned first, unsigned most)
{
	struct error err;

	virt_timing.pause_first = first;
	virt_timing.pause_most = most;
	arena = arena_new();
	forget();
	virt = virt_new(URI, &events, &err);
	other = virConnectOpen(URI);
	return virt && other ? 0 : -1;
}

static int begin(void **state UNUSED)
{
	usual = virt_timing;
	return begin_pausing(10, 50);
}

/* What news does not bring is read soon. */
static int begin_unsure(void **state UNUSED)
{
	usual = virt_timing;
	virt_timing.quiet = 100;
	return begin_pausing(10, 50);
}

static int begin_mute(void **state)
{
	atomic_store(&mute, 1);
	return begin_unsure(state);
}

static int begin_quick(void **state UNUSED)
{
	usual = virt_timing;
	return begin_pausing(1, 1);
}

static int finish(void **state UNUSED)
{
	virt_free(virt);
	virConnectClose(other);
	arena_free(arena);
	virt_timing = usual;
	atomic_store(&mute, 0);
	return 0;
}

static int begin_alone(void **state UNUSED)
{
	usual = virt_timing;
	virt_timing.pause_first = 10;
	virt_timing.pause_most = 50;
	arena = arena_new();
	forget();
	return 0;
}

static int finish_alone(void **state UNUSED)
{
	arena_free(arena);
	virt_timing = usual;
	return 0;
}

/* ---- domains ---- */

/* What domain_xml() makes of a small spec with a card, for the test driver. */
static const char *ours(const char *id)
{
	struct wire_vm_spec spec;
	struct vm_record vm;
	struct domain_card card = { .rom_path = NULL };
	struct domain_facts facts = { .network = "default", .nvram_path = "/images/x.nvram" };
	struct list warnings = { 0 };
	struct error err = { 0 };
	const char *xml;

	rows_clear(wire_vm_spec_rows, &spec);
	spec.id = id;
	spec.cpus = 2;
	spec.memory = 512;
	for (uint8_t f = 0; f < 2; f++)
		*list_add(arena, &card.functions,
			  struct pci_address) = (struct pci_address){ 0x10000, 0x41, 0x1f, f };
	*list_add(arena, &facts.cards, struct domain_card) = card;
	if (vm_normalise(&spec, &(struct list){ 0 }, arena, &vm, &err) < 0)
		fail_msg("%s", err.message);
	xml = domain_xml(&vm, &facts, arena, &warnings, &err);
	assert_non_null(xml);
	assert_memory_equal(xml, "<domain type=\"qemu\"", 19);
	return arena_printf(arena, "<domain type=\"test\"%s", xml + 19);
}

static const char *theirs(const char *name)
{
	return arena_printf(arena,
			    "<domain type='test'><name>%s</name><memory>65536</memory>"
			    "<os><type>hvm</type></os></domain>",
			    name);
}

static void by_other(const char *xml)
{
	virDomainPtr dom = virDomainCreateXML(other, xml, 0);

	assert_non_null(dom);
	virDomainFree(dom);
}

static virDomainPtr found_by_other(const char *name)
{
	virDomainPtr dom = virDomainLookupByName(other, name);

	assert_non_null(dom);
	return dom;
}

static void destroyed_by_other(const char *name)
{
	virDomainPtr dom = found_by_other(name);

	assert_int_equal(virDomainDestroy(dom), 0);
	virDomainFree(dom);
}

/* In the list; NULL: it is not. */
static const struct virt_domain *listed(const char *name)
{
	struct list domains = { 0 };
	struct error err;

	if (virt_domains(virt, arena, &domains, &err) < 0)
		return NULL;
	for (LIST_EACH(const struct virt_domain, domain, &domains))
		if (!strcmp(domain->name, name))
			return domain;
	return NULL;
}

static enum virt_state listed_state(const char *name)
{
	const struct virt_domain *domain = listed(name);

	return domain ? domain->state : VIRT_OFF;
}

#define CREATE(id)                                                                                 \
	do {                                                                                       \
		struct error err_ = { 0 };                                                         \
		if (virt_create(virt, ours(id), &err_) < 0)                                        \
			fail_msg("%s", err_.message);                                              \
	} while (0)

/* Sets the test's `err`. */
#define EXPECT_ERROR(call, expected)                                                               \
	do {                                                                                       \
		err = (struct error){ 0 };                                                         \
		assert_int_equal(call, -1);                                                        \
		if (err.code != (expected))                                                        \
			fail_msg(#call ": %s: %s", error_code_name(err.code), err.message);        \
		assert_string_not_equal(err.message, "");                                          \
		assert_string_not_equal(err.hint, "");                                             \
	} while (0)

static void test_no_libvirt(void **state UNUSED)
{
	struct virt *none = virt_new(NULL, NULL, NULL);
	struct list domains = { 0 };
	struct virt_host host;
	struct error err;

	assert_non_null(none);
	assert_false(virt_configured(none));
	assert_false(virt_connected(none, &err));
	assert_int_equal(err.code, ERROR_LIBVIRT);
	assert_string_equal(err.message, "Horcrux runs without libvirt");
	EXPECT_ERROR(virt_domains(none, arena, &domains, &err), ERROR_LIBVIRT);
	EXPECT_ERROR(virt_active(none, "a", NULL, &err), ERROR_LIBVIRT);
	EXPECT_ERROR(virt_create(none, "<domain/>", &err), ERROR_LIBVIRT);
	EXPECT_ERROR(virt_host(none, &host, &err), ERROR_LIBVIRT);
	assert_int_equal(virt_destroy(none, "a", NULL), -1);
	virt_free(none);
	virt_free(NULL);
}

/* The first call finds no connection yet, and waits for it. */
static void test_first_call_waits(void **state UNUSED)
{
	struct virt *fresh = virt_new(URI, NULL, NULL);
	struct virt_host host = { 0 };
	struct error err = { 0 };

	if (virt_host(fresh, &host, &err) < 0)
		fail_msg("%s", err.message);
	assert_true(virt_connected(fresh, &err));
	assert_int_equal(host.cpus, 16);
	assert_int_equal(host.memory_free_mib, 7 << 10); /* free, and caches */
	assert_int_equal(atomic_load(&wrong_asks), 0);
	assert_true(host.memory_mib > 0);
	assert_true(host.libvirt >= 9000000);
	virt_free(fresh);
}

static void test_what_runs_at_first(void **state UNUSED)
{
	const struct virt_domain *domain;
	struct error err;

	UNTIL(times_connected() == 1);
	assert_true(virt_connected(virt, &err));
	domain = listed("test");
	assert_non_null(domain);
	assert_int_equal(domain->state, VIRT_RUNNING);
	assert_null(domain->vm);
	assert_null(domain->started_at);
	assert_int_equal(strlen(domain->uuid), 36);
	assert_int_equal(domain->hostdevs.n, 0);
}

static void test_life(void **state UNUSED)
{
	const struct virt_domain *domain;
	const struct pci_address *address;
	enum virt_state now = VIRT_OFF;
	const char *xml = NULL;
	struct error err;

	assert_int_equal(virt_active(virt, "vm-1", &now, &err), 0);
	EXPECT_ERROR(virt_domain_xml(virt, "vm-1", arena, &xml, &err), ERROR_NOT_FOUND);
	EXPECT_ERROR(virt_shutdown(virt, "vm-1", &err), ERROR_NOT_FOUND);
	EXPECT_ERROR(virt_reboot(virt, "vm-1", &err), ERROR_NOT_FOUND);
	assert_int_equal(virt_destroy(virt, "vm-1", &err), 0);
	CREATE("vm-1");
	assert_int_equal(virt_active(virt, "vm-1", &now, &err), 1);
	assert_int_equal(now, VIRT_RUNNING);
	UNTIL(times_heard("vm-1", VIRT_RUNNING, false) == 1);
	domain = listed("vm-1");
	assert_non_null(domain);
	assert_string_equal(domain->vm, "vm-1");
	assert_int_equal(strlen(domain->started_at), 24);
	assert_int_equal(domain->hostdevs.n, 2);
	address = domain->hostdevs.items;
	assert_true(pci_address_equal(address[1], (struct pci_address){ 0x10000, 0x41, 0x1f, 1 }));
	assert_int_equal(virt_domain_xml(virt, "vm-1", arena, &xml, &err), 0);
	assert_string_equal(domain_xml_mark(xml, arena).started_at, domain->started_at);
	EXPECT_ERROR(virt_create(virt, ours("vm-1"), &err), ERROR_EXISTS);
	assert_int_equal(virt_reboot(virt, "vm-1", &err), 0);
	assert_int_equal(virt_shutdown(virt, "vm-1", &err), 0);
	UNTIL(times_heard("vm-1", VIRT_OFF, true) == 1);
	assert_null(listed("vm-1"));
	assert_int_equal(virt_active(virt, "vm-1", &now, &err), 0);
}

/* It is gone altogether: a transient domain leaves nothing that could be started beside us. */
static void test_transient(void **state UNUSED)
{
	struct error err;

	CREATE("vm-1");
	UNTIL(listed("vm-1"));
	assert_int_equal(virt_destroy(virt, "vm-1", &err), 0);
	assert_null(virDomainLookupByName(other, "vm-1"));
	UNTIL(times_heard("vm-1", VIRT_OFF, true) == 1);
	assert_null(listed("vm-1"));
	assert_int_equal(virt_destroy(virt, "vm-1", &err), 0);
}

/* virsh, beside us. */
static void test_ended_by_others(void **state UNUSED)
{
	virDomainPtr dom;

	CREATE("vm-2");
	UNTIL(listed("vm-2"));
	dom = found_by_other("vm-2");
	assert_int_equal(virDomainSuspend(dom), 0);
	UNTIL(times_heard("vm-2", VIRT_PAUSED, false) == 1);
	assert_int_equal(listed_state("vm-2"), VIRT_PAUSED);
	assert_int_equal(virDomainResume(dom), 0);
	UNTIL(listed_state("vm-2") == VIRT_RUNNING);
	virDomainFree(dom);
	destroyed_by_other("vm-2");
	UNTIL(times_heard("vm-2", VIRT_OFF, true) == 1);
	assert_null(listed("vm-2"));
}

static void test_crash(void **state UNUSED)
{
	virDomainPtr dom;

	CREATE("vm-6");
	UNTIL(listed("vm-6"));
	dom = found_by_other("vm-6");
	assert_int_equal(virDomainCoreDump(dom, "/dev/null", VIR_DUMP_CRASH), 0);
	virDomainFree(dom);
	UNTIL(times_heard("vm-6", VIRT_CRASHED, true) == 1);
	assert_null(listed("vm-6"));
}

/* Stopped and started again at once: told as gone and as running, and in the list to the end. */
static void test_restarted_at_once(void **state UNUSED)
{
	const char *xml = ours("vm-3");
	unsigned rounds = 20;

	UNTIL(times_connected() == 1);
	for (unsigned i = 0; i < rounds; i++) {
		by_other(xml);
		destroyed_by_other("vm-3");
	}
	by_other(xml);
	UNTIL(times_heard("vm-3", VIRT_OFF, true) == rounds);
	UNTIL(listed("vm-3"));
	assert_true(times_heard("vm-3", VIRT_RUNNING, false) >= 1);
	destroyed_by_other("vm-3");
	UNTIL(times_heard("vm-3", VIRT_OFF, true) == rounds + 1);
	assert_null(listed("vm-3"));
}

/* Somebody else's domain is neither ended nor taken for ours, whatever its name. */
static void test_theirs(void **state UNUSED)
{
	const struct virt_domain *domain;
	virDomainPtr dom;
	enum virt_state now;
	const char *xml;
	struct error err;

	UNTIL(times_connected() == 1);
	by_other(theirs("win11"));
	UNTIL(times_heard("win11", VIRT_RUNNING, false) == 1);
	domain = listed("win11");
	assert_non_null(domain);
	assert_null(domain->vm);
	assert_int_equal(strlen(domain->started_at), 24); /* seen by us */
	assert_int_equal(virt_active(virt, "win11", &now, &err), 0);
	EXPECT_ERROR(virt_domain_xml(virt, "win11", arena, &xml, &err), ERROR_NOT_FOUND);
	dom = found_by_other("win11");
	assert_int_equal(virDomainSuspend(dom), 0);
	virDomainFree(dom);
	UNTIL(listed_state("win11") == VIRT_PAUSED);
	assert_string_equal(listed("win11")->started_at, domain->started_at);
	EXPECT_ERROR(virt_shutdown(virt, "win11", &err), ERROR_NOT_FOUND);
	EXPECT_ERROR(virt_create(virt, ours("win11"), &err), ERROR_EXISTS);
	assert_int_equal(virt_destroy(virt, "win11", &err), 0);
	dom = found_by_other("win11");
	assert_int_equal(virDomainIsActive(dom), 1);
	virDomainFree(dom);
	assert_non_null(listed("win11"));
	destroyed_by_other("win11");
	UNTIL(times_heard("win11", VIRT_OFF, true) == 1);
}

/* A mark copied into another domain does not make it ours. */
static void test_copied_mark(void **state UNUSED)
{
	char *xml = arena_strdup(arena, ours("vm-4")), *at;
	struct error err;

	UNTIL(times_connected() == 1);
	at = strstr(xml, "<name>vm-4");
	assert_non_null(at);
	memcpy(at + 6, "copy", 4);
	by_other(xml);
	UNTIL(listed("copy"));
	assert_null(listed("copy")->vm);
	assert_int_equal(virt_active(virt, "vm-4", NULL, &err), 0);
	assert_int_equal(virt_active(virt, "copy", NULL, &err), 0);
	destroyed_by_other("copy");
}

static void test_sorted(void **state UNUSED)
{
	static const char *const names[] = { "zeta", "alpha", "mid" };
	struct list domains = { 0 };
	const struct virt_domain *it;
	struct error err;

	UNTIL(times_connected() == 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		by_other(theirs(names[i]));
	UNTIL(listed("zeta") && listed("alpha") && listed("mid"));
	assert_int_equal(virt_domains(virt, arena, &domains, &err), 0);
	assert_int_equal(domains.n, 4);
	it = domains.items;
	for (size_t i = 1; i < domains.n; i++)
		assert_true(strcmp(it[i - 1].name, it[i].name) < 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		destroyed_by_other(names[i]);
}

/* libvirt's schema refuses it before anything starts, and that is ours to fix, not the user's. */
static void test_bad_xml(void **state UNUSED)
{
	char *xml = arena_strdup(arena, ours("x")), *rng = strstr(xml, "<rng "),
	     *end = strstr(xml, "</rng>");
	struct error err;

	memcpy(rng, "<rn9", 4); /* a device that there is none of */
	memcpy(end, "</rn9", 5);
	EXPECT_ERROR(virt_create(virt, xml, &err), ERROR_INTERNAL);
	EXPECT_ERROR(virt_create(virt, "no XML", &err), ERROR_INTERNAL);
	assert_null(virDomainLookupByName(other, "x"));
}

/* More news than the queue holds while the keeper is busy: all is read anew, so nothing is missed.
 */
static void test_overflow(void **state UNUSED)
{
	struct news news = { .kind = NEWS_CHANGED, .name = "nobody" };

	sem_init(&let_go, 0, 0);
	UNTIL(times_connected() == 1);
	by_other(theirs("holder"));
	UNTIL(listed("holder")); /* it is being told: the keeper waits */
	by_other(theirs("missed"));
	for (uint64_t generation = 1; generation < 1000; generation++)
		for (int i = 0; i < 1100; i++)
			virt_post(generation, &news);
	destroyed_by_other("holder");
	for (int i = 0; i < 10; i++)
		sem_post(&let_go);
	UNTIL(times_connected() == 2);
	assert_non_null(listed("missed"));
	assert_null(listed("holder"));
	assert_int_equal(times_heard("missed", VIRT_RUNNING, false), 0);
	destroyed_by_other("missed");
	UNTIL(!listed("missed"));
	sem_destroy(&let_go);
}

/* ---- storage and networks ---- */

static void test_pool(void **state UNUSED)
{
	bool defined = true, active = true;
	const char *path = "?", *format = "?";
	uint64_t bytes = 7;
	struct error err;

	assert_int_equal(virt_pool_state(virt, "horcrux", &defined, &active, arena, &path, &err),
			 0);
	assert_false(defined || active);
	assert_null(path);
	EXPECT_ERROR(virt_pool_space(virt, "horcrux", &bytes, &err), ERROR_NOT_FOUND);
	EXPECT_ERROR(virt_volume(virt, "horcrux", "a", arena, NULL, NULL, NULL, &err),
		     ERROR_NOT_FOUND);
	EXPECT_ERROR(virt_volume_make(virt, "horcrux", "a", 1, "raw", &err), ERROR_NOT_FOUND);
	assert_int_equal(virt_pool_unmake(virt, "horcrux", &err), 0);
	for (int i = 0; i < 2; i++) /* again: nothing changes */
		assert_int_equal(virt_pool_make(virt, "horcrux", "/images & <more>", &err), 0);
	EXPECT_ERROR(virt_pool_make(virt, "horcrux", "/elsewhere", &err), ERROR_CONFLICT);
	assert_int_equal(virt_pool_state(virt, "horcrux", &defined, &active, arena, &path, &err),
			 0);
	assert_true(defined && active);
	assert_string_equal(path, "/images & <more>");
	assert_int_equal(virt_pool_space(virt, "horcrux", &bytes, &err), 0);
	assert_true(bytes > 1 << 30);
	assert_int_equal(
		virt_volume(virt, "horcrux", "a.qcow2", arena, &path, &format, &bytes, &err), 0);
	assert_int_equal(virt_volume_make(virt, "horcrux", "a.qcow2", 5 << 20, "qcow2", &err), 0);
	EXPECT_ERROR(virt_volume_make(virt, "horcrux", "a.qcow2", 5 << 20, "qcow2", &err),
		     ERROR_EXISTS);
	assert_int_equal(
		virt_volume(virt, "horcrux", "a.qcow2", arena, &path, &format, &bytes, &err), 1);
	assert_string_equal(path, "/images & <more>/a.qcow2");
	assert_string_equal(format, "qcow2");
	assert_int_equal(bytes, 5 << 20);
	for (int i = 0; i < 2; i++)
		assert_int_equal(virt_volume_delete(virt, "horcrux", "a.qcow2", &err), 0);
	assert_int_equal(virt_volume(virt, "horcrux", "a.qcow2", arena, NULL, NULL, NULL, &err), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(virt_pool_unmake(virt, "horcrux", &err), 0);
	assert_int_equal(virt_pool_state(virt, "horcrux", &defined, NULL, arena, NULL, &err), 0);
	assert_false(defined);
}

static void test_network(void **state UNUSED)
{
	bool defined = false, active = false;
	struct error err;

	assert_int_equal(virt_network_state(virt, "default", &defined, &active, &err), 0);
	assert_true(defined && active);
	assert_int_equal(virt_network_start(virt, "default", &err), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(virt_network_stop(virt, "default", &err), 0);
	assert_int_equal(virt_network_state(virt, "default", &defined, &active, &err), 0);
	assert_true(defined);
	assert_false(active);
	for (int i = 0; i < 2; i++)
		assert_int_equal(virt_network_start(virt, "default", &err), 0);
	assert_int_equal(virt_network_state(virt, "nowhere", &defined, &active, &err), 0);
	assert_false(defined || active);
	assert_int_equal(virt_network_stop(virt, "nowhere", &err), 0);
	EXPECT_ERROR(virt_network_start(virt, "nowhere", &err), ERROR_NOT_FOUND);
}

/* ---- calls that hang ---- */

static sem_t released;
static unsigned n_hanging; /* atomic */
static uint64_t hang_round; /* atomic; of a test: a call whose thread begins only after it hangs no more */

static int run_hang(struct call *call, virConnectPtr conn UNUSED)
{
	__atomic_add_fetch(&n_hanging, 1, __ATOMIC_SEQ_CST);
	if (call->generation == __atomic_load_n(&hang_round, __ATOMIC_SEQ_CST))
		while (sem_wait(&released) < 0)
			;
	__atomic_sub_fetch(&n_hanging, 1, __ATOMIC_RELAXED);
	return 0;
}

static unsigned hanging(void)
{
	return __atomic_load_n(&n_hanging, __ATOMIC_RELAXED);
}

static int hang(unsigned ms, struct error *err)
{
	CLEAN_CALL struct call *call = call_new(CALL_ASK, "waiting for nothing", run_hang);

	call->ms = ms;
	call->generation = __atomic_load_n(&hang_round, __ATOMIC_SEQ_CST); /* of no use to such a call else */
	return virt_do(virt, call, err);
}

static void let_hanging_go(unsigned n)
{
	__atomic_add_fetch(&hang_round, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < n; i++)
		sem_post(&released);
	UNTIL(hanging() == 0);
}

/* One call past its deadline: a clear error, a new connection, and everything works again. */
static void test_late_call(void **state UNUSED)
{
	uint64_t start;
	struct error err;

	sem_init(&released, 0, 0);
	CREATE("vm-5");
	UNTIL(times_connected() == 1 && listed("vm-5"));
	start = time_monotonic_ms();
	EXPECT_ERROR(hang(50, &err), ERROR_LIBVIRT);
	assert_true(time_monotonic_ms() - start < PATIENCE_MS / 2);
	UNTIL(hanging() == 1);
	assert_int_equal(virt_active(virt, "vm-5", NULL, &err), 1); /* it waits for the new one */
	UNTIL(times_connected() == 2);
	assert_string_equal(listed("vm-5")->vm, "vm-5");
	assert_non_null(
		listed("vm-5")->started_at); /* the mark knows, though nobody saw it start */
	assert_int_equal(virt_destroy(virt, "vm-5", &err), 0);
	UNTIL(times_heard("vm-5", VIRT_OFF, true) == 1); /* news is of the new one */
	let_hanging_go(1);
	sem_destroy(&released);
}

/* However many hang, their number has a limit, and when they end there is room again. */
static void test_many_late_calls(void **state UNUSED)
{
	struct error err = { 0 };
	unsigned n = 0;

	sem_init(&released, 0, 0);
	while (n < 1000 && !strstr(err.message, "have no answer yet")) {
		assert_int_equal(hang(1, &err), -1);
		assert_int_equal(err.code, ERROR_LIBVIRT);
		n++;
	}
	assert_true(n > 32 && n < 1000);
	let_hanging_go(n);
	UNTIL(virt_active(virt, "vm-5", NULL, &err) == 0);
	UNTIL(hanging() == 0);
	sem_destroy(&released);
}

/* The end does not wait for what hangs. */
static void test_free_while_hanging(void **state UNUSED)
{
	uint64_t start;
	struct error err;

	sem_init(&released, 0, 0);
	UNTIL(times_connected() == 1);
	EXPECT_ERROR(hang(50, &err), ERROR_LIBVIRT);
	UNTIL(hanging() == 1);
	start = time_monotonic_ms();
	virt_free(TAKE_PTR(virt));
	assert_true(time_monotonic_ms() - start < PATIENCE_MS / 2);
	let_hanging_go(1);
	sem_destroy(&released);
}

/* ---- servers that are none ---- */

struct server {
	char folder[64], path[96], uri[160];
	int fd;
	bool hangs_up;
	unsigned accepted; /* atomic */
	pthread_t thread;
};

/* Accepts, and then says nothing, or hangs up. Ends when its socket is shut down. */
static void *serve(void *data)
{
	struct server *server = data;
	int kept[64], n = 0, fd;

	while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
		__atomic_add_fetch(&server->accepted, 1, __ATOMIC_RELAXED);
		if (server->hangs_up || n == ARRAY_SIZE(kept))
			close(fd);
		else
			kept[n++] = fd;
	}
	while (n)
		close(kept[--n]);
	return NULL;
}

static void server_start(struct server *server, bool hangs_up)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*server = (struct server){ .hangs_up = hangs_up };
	snprintf(server->folder, sizeof(server->folder), "/tmp/horcrux-virt-XXXXXX");
	assert_non_null(mkdtemp(server->folder));
	snprintf(server->path, sizeof(server->path), "%s/sock", server->folder);
	snprintf(server->uri, sizeof(server->uri), "qemu+unix:///system?socket=%s", server->path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->path);
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server->fd, 16), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
	unlink(server->path);
	rmdir(server->folder);
}

static unsigned accepted(const struct server *server)
{
	return __atomic_load_n(&server->accepted, __ATOMIC_RELAXED);
}

/* A libvirtd that accepts and says nothing: deadline and words, one connection, and we live on. */
static void test_silent_server(void **state UNUSED)
{
	struct server server;
	struct virt *silent;
	struct list domains = { 0 };
	uint64_t start = time_monotonic_ms();
	struct error err = { 0 };

	virt_timing.open = 200;
	server_start(&server, false);
	silent = virt_new(server.uri, &events, &err);
	assert_non_null(silent);
	assert_false(virt_connected(silent, &err));
	EXPECT_ERROR(virt_domains(silent, arena, &domains, &err), ERROR_LIBVIRT);
	EXPECT_ERROR(virt_active(silent, "a", NULL, &err), ERROR_LIBVIRT);
	UNTIL(!virt_connected(silent, &err) && strstr(err.message, "did not answer within"));
	EXPECT_ERROR(virt_active(silent, "a", NULL, &err), ERROR_LIBVIRT);
	for (int i = 0; i < 200; i++)
		moment();
	assert_int_equal(accepted(&server), 1); /* it is waited for, not asked again and again */
	assert_int_equal(times_connected(), 0);
	virt_free(silent);
	assert_true(time_monotonic_ms() - start < PATIENCE_MS);
	server_stop(&server);
}

/* The end does not wait for a connection that is being opened. */
static void test_free_while_opening(void **state UNUSED)
{
	struct server server;
	struct virt *silent;
	uint64_t start = time_monotonic_ms();

	server_start(&server, false);
	silent = virt_new(server.uri, &events, NULL);
	UNTIL(accepted(&server) == 1);
	virt_free(silent);
	assert_true(time_monotonic_ms() - start < PATIENCE_MS);
	server_stop(&server);
}

/* Refused, then there, then gone: tried again and again, with pauses between. */
static void test_server_that_hangs_up(void **state UNUSED)
{
	struct server server;
	struct virt *rude;
	struct error err = { 0 };
	uint64_t start;

	server_start(&server, true);
	start = time_monotonic_ms();
	rude = virt_new(server.uri, &events, &err);
	EXPECT_ERROR(virt_active(rude, "a", NULL, &err), ERROR_LIBVIRT);
	UNTIL(accepted(&server) >= 10);
	assert_true(time_monotonic_ms() - start > 10 + 20 + 40 + 5 * 50);
	EXPECT_ERROR(virt_active(rude, "a", NULL, &err), ERROR_LIBVIRT);
	virt_free(rude);
	server_stop(&server);
}

static void test_no_server(void **state UNUSED)
{
	struct virt *nobody = virt_new("qemu+unix:///system?socket=/nowhere/sock", NULL, NULL);
	struct error err = { 0 };

	assert_int_equal(virt_active(nobody, "a", NULL, &err), -1);
	assert_int_equal(err.code, ERROR_LIBVIRT);
	assert_non_null(strstr(err.message, "/nowhere/sock"));
	assert_non_null(strstr(err.hint, "systemctl start"));
	virt_free(nobody);
}

static void test_many_births(void **state UNUSED)
{
	for (int i = 0; i < 30; i++) {
		struct virt *brief = virt_new(URI, &events, NULL);

		assert_non_null(brief);
		if (i % 2)
			assert_int_equal(virt_active(brief, "a", NULL, NULL), 0);
		virt_free(brief);
	}
}

/* The driver forgets everything when the last connection to it is closed. */
static void test_connections_are_closed(void **state UNUSED)
{
	struct virt *brief;
	bool kept = true;

	other = virConnectOpen(URI);
	brief = virt_new(URI, &events, NULL);
	assert_int_equal(virt_active(brief, "a", NULL, NULL), 0);
	by_other(theirs("kept"));
	virt_free(brief);
	for (int i = 0; kept && i < 1000; i++) {
		virDomainPtr dom;

		virConnectClose(other);
		moment();
		other = virConnectOpen(URI);
		dom = virDomainLookupByName(other, "kept");
		kept = dom;
		if (dom)
			virDomainFree(dom);
	}
	virConnectClose(other);
	assert_false(kept);
}

/* A libvirt that tells nothing: what runs is read all the same, and told only when it changed. */
static void test_news_that_never_comes(void **state UNUSED)
{
	struct timespec some_rounds = { .tv_nsec = 500000000 };

	UNTIL(times_connected() == 1);
	by_other(ours("unheard"));
	UNTIL(listed("unheard"));
	UNTIL(times_connected() == 2);
	nanosleep(&some_rounds, NULL);
	assert_int_equal(times_connected(), 2);
	destroyed_by_other("unheard");
	UNTIL(!listed("unheard"));
	UNTIL(times_connected() == 3);
}

/* ---- all at once ---- */

static unsigned n_wrong; /* atomic */

static void *ask_a_lot(void *data)
{
	const char *id = data;
	struct error err;
	struct arena *mine = arena_new();

	for (int i = 0; i < 40; i++) {
		struct list domains = { 0 };

		virt_domains(virt, mine, &domains, &err);
		virt_connected(virt, &err);
		/* a connection may be lost under it, and says so; anything else is wrong */
		if (virt_active(virt, id, NULL, &err) < 0 && err.code != ERROR_LIBVIRT)
			__atomic_add_fetch(&n_wrong, 1, __ATOMIC_RELAXED);
	}
	arena_free(mine);
	return NULL;
}

/* libvirt may lose the last news when a connection goes while others change domains: see read_all(). */
static void test_storm(void **state UNUSED)
{
	static const char *const ids[] = { "storm-1", "storm-2", "storm-3", "storm-4" };
	pthread_t threads[ARRAY_SIZE(ids)];
	struct error err;

	UNTIL(times_connected() == 1);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, ask_a_lot, arena_strdup(arena, ids[i])),
			0);
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
			by_other(ours(ids[i]));
		for (uint64_t generation = 1; round % 4 == 3 && generation < 2000; generation++)
			virt_lost(generation, "it is cut off");
		for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
			destroyed_by_other(ids[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(__atomic_load_n(&n_wrong, __ATOMIC_RELAXED), 0);
	UNTIL(times_connected() >= 2);
	UNTIL(virt_connected(virt, &err) && listed("test") && !listed("storm-1") &&
	      !listed("storm-4"));
}

/* ---- words ---- */

static void test_errors(void **state UNUSED)
{
	static const struct {
		int number;
		const char *words;
		enum error_code code;
		const char *message, *hint;
	} rows[] = {
		{ VIR_ERR_NO_DOMAIN, "Domain not found: no domain with matching name 'a'",
		  ERROR_NOT_FOUND,
		  "doing it failed: Domain not found: no domain with matching name 'a'",
		  "not running" },
		{ VIR_ERR_INTERNAL_ERROR,
		  "internal error: process exited while connecting to monitor: "
		  "2026-11-23T08:00:00.123456Z qemu-system-x86_64: -device "
		  "vfio-pci,host=0000:01:00.0: \n"
		  "vfio 0000:01:00.0: failed to setup container for group 5: Failed to set iommu "
		  "for "
		  "container: Operation not permitted.\n",
		  ERROR_LIBVIRT_FAILED,
		  "doing it failed: process exited while connecting to monitor: "
		  "qemu-system-x86_64: -device "
		  "vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: failed to setup container for "
		  "group 5: "
		  "Failed to set iommu for container: Operation not permitted",
		  "horcrux gpu iommu" },
		{ VIR_ERR_OPERATION_FAILED,
		  "operation failed: domain 'a' already exists with uuid x", ERROR_EXISTS,
		  "doing it failed: domain 'a' already exists with uuid x", "virsh list" },
		{ VIR_ERR_OPERATION_INVALID,
		  "Requested operation is not valid: domain is not running", ERROR_CONFLICT,
		  "doing it failed: domain is not running", "state" },
		{ VIR_ERR_OPERATION_INVALID,
		  "Requested operation is not valid: PCI device 0000:01:00.0 is in use by driver "
		  "QEMU, "
		  "domain win11",
		  ERROR_CONFLICT,
		  "doing it failed: PCI device 0000:01:00.0 is in use by driver QEMU, domain win11",
		  "uses it" },
		{ VIR_ERR_SYSTEM_ERROR,
		  "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or "
		  "directory",
		  ERROR_LIBVIRT,
		  "doing it failed: Failed to connect socket to '/var/run/libvirt/libvirt-sock': "
		  "No such file "
		  "or directory",
		  "systemctl start libvirtd.socket" },
		{ VIR_ERR_SYSTEM_ERROR,
		  "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
		  ERROR_LIBVIRT,
		  "doing it failed: Failed to connect socket to '/var/run/libvirt/libvirt-sock': "
		  "Permission "
		  "denied",
		  "group libvirt" },
		{ VIR_ERR_AUTH_UNAVAILABLE, "authentication unavailable: no polkit agent",
		  ERROR_LIBVIRT, "doing it failed: authentication unavailable: no polkit agent",
		  "group libvirt" },
		{ VIR_ERR_XML_INVALID_SCHEMA, "XML document failed to validate", ERROR_INTERNAL,
		  "doing it failed: XML document failed to validate", "report" },
		{ VIR_ERR_STORAGE_VOL_EXIST, "storage volume 'a' exists already", ERROR_EXISTS,
		  "doing it failed: storage volume 'a' exists already", "overwritten" },
		{ VIR_ERR_OPERATION_TIMEOUT, "Timed out: cannot acquire state change lock",
		  ERROR_CONFLICT, "doing it failed: Timed out: cannot acquire state change lock",
		  "try again" },
		{ VIR_ERR_SYSTEM_ERROR, "cannot fill file '/p/a.qcow2': No space left on device",
		  ERROR_STORE,
		  "doing it failed: cannot fill file '/p/a.qcow2': No space left on device",
		  "make room" },
		{ VIR_ERR_RPC, "\todd \x01\x7f text  ", ERROR_LIBVIRT_FAILED,
		  "doing it failed: odd text", "journalctl" },
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(virt_error(&err, "doing it", rows[i].number, rows[i].words), -1);
		assert_int_equal(err.code, rows[i].code);
		assert_string_equal(err.message, rows[i].message);
		if (!strstr(err.hint, rows[i].hint))
			fail_msg("row %zu: %s", i, err.hint);
	}
	assert_int_equal(virt_error(NULL, "doing it", VIR_ERR_RPC, ""), -1);
}

/* libvirt prints its errors on stderr unless it is told not to, in whichever thread they are. */
static void test_quiet(void **state UNUSED)
{
	struct virt *nobody;
	struct error err;
	char text[256] = "";
	int usual_stderr = dup(STDERR_FILENO);
	FILE *caught = tmpfile();

	assert_non_null(caught);
	dup2(fileno(caught), STDERR_FILENO);
	nobody = virt_new("qemu+unix:///system?socket=/nowhere/sock", NULL, NULL);
	virt_active(nobody, "a", NULL, &err);
	virt_free(nobody);
	virt_create(virt, "no XML", &err);
	virt_shutdown(virt, "nobody", &err);
	fflush(stderr);
	dup2(usual_stderr, STDERR_FILENO);
	close(usual_stderr);
	rewind(caught);
	(void)!fread(text, 1, sizeof(text) - 1, caught);
	fclose(caught);
	assert_string_equal(text, "");
}

#define ALONE(test) cmocka_unit_test_setup_teardown(test, begin_alone, finish_alone)
#define WITH(test)  cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(test_errors),
		ALONE(test_no_libvirt),
		ALONE(test_first_call_waits),
		ALONE(test_silent_server),
		ALONE(test_free_while_opening),
		ALONE(test_server_that_hangs_up),
		ALONE(test_no_server),
		ALONE(test_many_births),
		ALONE(test_connections_are_closed),
		WITH(test_what_runs_at_first),
		WITH(test_life),
		WITH(test_transient),
		WITH(test_ended_by_others),
		WITH(test_crash),
		WITH(test_restarted_at_once),
		WITH(test_theirs),
		WITH(test_copied_mark),
		WITH(test_sorted),
		WITH(test_bad_xml),
		WITH(test_overflow),
		WITH(test_pool),
		WITH(test_network),
		WITH(test_late_call),
		cmocka_unit_test_setup_teardown(test_many_late_calls, begin_quick, finish),
		WITH(test_free_while_hanging),
		cmocka_unit_test_setup_teardown(test_news_that_never_comes, begin_mute, finish),
		cmocka_unit_test_setup_teardown(test_storm, begin_unsure, finish),
		WITH(test_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
