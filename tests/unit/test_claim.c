/* SPDX-License-Identifier: Apache-2.0 */
/* The step that claims a card, there and back, on a store of its own: the record is as it was. */
#include "unit.h"

#include "gpu/record.h"
#include "hand.h"
#include "vm/lifecycle.h"
#include "vm/steps.h"

#define NODE "testhost"
#define OLD "00:01.0/00.0"
#define NEW "00:02.0/00.0"

struct fixture {
	char top[48], path[64];
	struct hand_host *host;
	struct arena *arena;
	struct vm_services services;
	const char *card;
};

static void mint(struct fixture *f)
{
	struct function *function = hand_function(f->host, "0000:01:00.0", 0x030000, "radeon", 1, 0);
	struct list records = { 0 };
	struct card_record *record;

	function->path_key = OLD;
	hand_card(f->host, function, NULL);
	records_match(&f->host->inv, f->arena, &records);
	assert_int_equal(records.n, 1);
	record = records.items;
	assert_int_equal(record_save(f->services.gpu.store, NODE, record, NULL), 1);
	f->card = record->id;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	snprintf(f->top, sizeof(f->top), "%s/horcrux-claim-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->path, sizeof(f->path), "%s/store.db", f->top);
	f->services.gpu.node_id = NODE;
	f->services.gpu.store = store_open(&store_sqlite, f->path, 0, &err);
	if (!f->services.gpu.store)
		fail_msg("%s", err.message);
	f->host = hand_new();
	f->arena = arena_new();
	mint(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const endings[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	char path[96];

	store_close(f->services.gpu.store);
	hand_free(f->host);
	arena_free(f->arena);
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, endings[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->top), 0);
	free(f);
	return 0;
}

static void assert_record(struct fixture *f, const char *owner, const char *path, int was_bound)
{
	struct list records = { 0 };
	struct card_record *record;

	assert_int_equal(
		records_load(f->services.gpu.store, NODE, f->arena, &records, NULL), 1);
	record = records.items;
	assert_string_equal(record->owner ? record->owner : "nobody", owner);
	assert_string_equal(record->path, path);
	assert_int_equal(record->was_bound, was_bound);
}

/* Applied and proven, undone and proven; and what is looked at after a crash in between. */
static void there_and_back(struct fixture *f, const struct claim_step *args)
{
	const struct step_kind *kind = vm_step(VM_STEP_CLAIM);
	struct error err = { 0 };

	assert_int_equal(kind->holds(&f->services, args), 0);
	assert_int_equal(kind->prove_undone(&f->services, args, &err), 0);
	assert_int_equal(kind->apply(&f->services, args, &err), 0);
	assert_int_equal(kind->prove(&f->services, args, &err), 0);
	assert_int_equal(kind->holds(&f->services, args), 1);
	assert_int_equal(kind->prove_undone(&f->services, args, &err), -1);
	assert_record(f, "vm-1", args->path ?: OLD, args->owned == 1 ? 1 : args->was_bound);
	for (int i = 0; i < 2; i++) {	/* twice is no error */
		assert_int_equal(kind->undo(&f->services, args, &err), 0);
		assert_int_equal(kind->prove_undone(&f->services, args, &err), 0);
		assert_int_equal(kind->holds(&f->services, args), 0);
	}
}

static void a_claim_is_dropped_again(void **state)
{
	struct fixture *f = *state;
	const struct claim_step args = { .card = f->card, .address = "0000:01:00", .vm = "vm-1" };

	there_and_back(f, &args);
	assert_record(f, "nobody", OLD, -1);
}

/* A start that did not come about has confirmed nothing. */
static void a_card_that_moved_is_to_be_confirmed_again(void **state)
{
	struct fixture *f = *state;
	const struct claim_step args = { .card = f->card,
					 .address = "0000:02:00",
					 .vm = "vm-1",
					 .path = NEW,
					 .path_was = OLD };

	there_and_back(f, &args);
	assert_record(f, "nobody", OLD, -1);
}

/* The VM had it before, and has it still; only where it is was to be confirmed. */
static void a_claim_from_before_is_kept(void **state)
{
	struct fixture *f = *state;
	const struct claim_step args = { .card = f->card,
					 .address = "0000:02:00",
					 .vm = "vm-1",
					 .path = NEW,
					 .path_was = OLD,
					 .was_bound = -1,
					 .owned = 1 };

	assert_int_equal(
		card_claim(f->services.gpu.store, NODE, f->card, "vm-1", NULL, 1, NULL), 0);
	there_and_back(f, &args);
	assert_record(f, "vm-1", OLD, 1);
}

/* Another's claim is not touched on the way back. */
static void anothers_claim_stays(void **state)
{
	struct fixture *f = *state;
	const struct claim_step args = { .card = f->card,
					 .address = "0000:02:00",
					 .vm = "vm-1",
					 .path = NEW,
					 .path_was = OLD };

	assert_int_equal(
		card_claim(f->services.gpu.store, NODE, f->card, "vm-2", NEW, 0, NULL), 0);
	assert_int_equal(vm_step(VM_STEP_CLAIM)->undo(&f->services, &args, NULL), 0);
	assert_record(f, "vm-2", NEW, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_claim_is_dropped_again),
		TEST(a_card_that_moved_is_to_be_confirmed_again),
		TEST(a_claim_from_before_is_kept),
		TEST(anothers_claim_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
