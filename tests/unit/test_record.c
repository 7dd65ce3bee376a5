/* SPDX-License-Identifier: Apache-2.0 */
/* Card records: who is known again and who is not, and who gets a card that two want at once. */
#include "unit.h"

#include <pthread.h>

#include "gpu/record.h"
#include "hand.h"

#define NODE "testhost"

enum { ROUNDS = 40 };

struct fixture {
	char top[48], path[64];
	struct store *store;
	struct hand_host *host;
	struct arena *arena;
	struct list records;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	snprintf(f->top, sizeof(f->top), "%s/horcrux-record-XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->path, sizeof(f->path), "%s/store.db", f->top);
	f->store = store_open(&store_sqlite, f->path, 0, &err);
	if (!f->store)
		fail_msg("%s", err.message);
	f->host = hand_new();
	f->arena = arena_new();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const endings[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	char path[96];

	store_close(f->store);
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

/* ---- machines, and what is known of them ---- */

/* The machine is another one now. */
static void reboot(struct fixture *f)
{
	hand_free(f->host);
	f->host = hand_new();
}

static void card_at(struct fixture *f, const char *address, const char *path, uint16_t device)
{
	struct function *function = hand_function(f->host, address, 0x030000, "radeon", 1,
						  (int)f->host->inv.cards.n);

	function->path_key = path;
	function->device = device;
	hand_card(f->host, function, NULL);
}

/* Reads, matches and writes, as the daemon does; how many were written. */
static int look(struct fixture *f)
{
	struct error err = { 0 };
	int written = 0;

	if (records_load(f->store, NODE, f->arena, &f->records, &err) < 0)
		fail_msg("%s", err.message);
	records_match(&f->host->inv, f->arena, &f->records);
	for (LIST_EACH(struct card_record, r, &f->records)) {
		if (!r->changed)
			continue;
		assert_int_equal(record_save(f->store, NODE, r, &err), 1);
		written++;
	}
	return written;
}

static const struct card_record *at(struct fixture *f, const char *address)
{
	return record_at(&f->records, &f->host->inv, hand_at(address));
}

static const char *id_at(struct fixture *f, const char *address)
{
	const struct card_record *r = at(f, address);

	assert_non_null(r);
	return r->id;
}

static void mints_at_first_sight_and_knows_again(void **state)
{
	struct fixture *f = *state;
	const char *id;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x5159);
	assert_int_equal(look(f), 1);
	id = id_at(f, "0000:01:00.0");
	assert_int_equal(strncmp(id, "card-", 5), 0);
	assert_string_equal(at(f, "0000:01:00.0")->ids, "fff0:5159 0000:0000");
	assert_int_equal(strlen(at(f, "0000:01:00.0")->seen_at),
			 strlen("2026-11-23T08:30:00.000Z"));
	assert_null(at(f, "0000:01:00.0")->owner);

	assert_int_equal(look(f), 0);
	assert_int_equal(f->records.n, 1);
	assert_string_equal(id_at(f, "0000:01:00.0"), id);
	assert_null(at(f, "0000:01:00.0")->moved_from);
}

/* Another card before it on the way: bus numbers change, the path does not. */
static void a_new_bus_number_is_no_move(void **state)
{
	struct fixture *f = *state;
	const char *id;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x5159);
	look(f);
	id = id_at(f, "0000:01:00.0");
	reboot(f);
	card_at(f, "0000:03:00.0", "00:01.0/00.0", 0x5159);
	assert_int_equal(look(f), 1);
	assert_string_equal(id_at(f, "0000:03:00.0"), id);
	assert_null(at(f, "0000:03:00.0")->moved_from);
	assert_int_equal(look(f), 0);
}

static void another_slot_is_a_move_until_confirmed(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	const char *id;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x5159);
	look(f);
	id = id_at(f, "0000:01:00.0");
	reboot(f);
	card_at(f, "0000:02:00.0", "00:02.0/00.0", 0x5159);
	for (int i = 0; i < 2; i++) { /* also the next time */
		look(f);
		assert_string_equal(id_at(f, "0000:02:00.0"), id);
		assert_string_equal(at(f, "0000:02:00.0")->moved_from, "00:01.0/00.0");
	}
	assert_int_equal(card_claim(f->store, NODE, id, "vm-1", "00:02.0/00.0", 0, &err), 0);
	look(f);
	assert_null(at(f, "0000:02:00.0")->moved_from);
	assert_string_equal(at(f, "0000:02:00.0")->owner, "vm-1");
}

/* Two different cards have changed places: each is known by its ids, and told as moved. */
static void two_that_swapped_are_told_by_their_ids(void **state)
{
	struct fixture *f = *state;
	const char *one, *two;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x1111);
	card_at(f, "0000:02:00.0", "00:02.0/00.0", 0x2222);
	look(f);
	one = id_at(f, "0000:01:00.0");
	two = id_at(f, "0000:02:00.0");
	reboot(f);
	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2222);
	card_at(f, "0000:02:00.0", "00:02.0/00.0", 0x1111);
	look(f);
	assert_string_equal(id_at(f, "0000:01:00.0"), two);
	assert_string_equal(at(f, "0000:01:00.0")->moved_from, "00:02.0/00.0");
	assert_string_equal(id_at(f, "0000:02:00.0"), one);
	assert_string_equal(at(f, "0000:02:00.0")->moved_from, "00:01.0/00.0");
	assert_int_equal(f->records.n, 2);
}

static void another_card_in_its_place_is_another(void **state)
{
	struct fixture *f = *state;
	const char *id;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x1111);
	look(f);
	id = id_at(f, "0000:01:00.0");
	reboot(f);
	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2222);
	look(f);
	assert_string_not_equal(id_at(f, "0000:01:00.0"), id);
	assert_int_equal(f->records.n, 2); /* the other is absent, not forgotten */
	reboot(f);
	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x1111);
	look(f);
	assert_string_equal(id_at(f, "0000:01:00.0"), id);
}

static void twins(struct fixture *f)
{
	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2204);
	card_at(f, "0000:02:00.0", "00:02.0/00.0", 0x2204);
	look(f);
}

static void twins_keep_their_places(void **state)
{
	struct fixture *f = *state;
	const char *one, *two;

	twins(f);
	one = id_at(f, "0000:01:00.0");
	two = id_at(f, "0000:02:00.0");
	assert_string_not_equal(one, two);
	reboot(f);
	card_at(f, "0000:02:00.0", "00:02.0/00.0", 0x2204);
	card_at(f, "0000:03:00.0", "00:03.0/00.0", 0x2204);
	look(f);
	assert_string_equal(id_at(f, "0000:02:00.0"), two); /* it stayed */
	assert_null(at(f, "0000:02:00.0")->moved_from);
	assert_string_equal(id_at(f, "0000:03:00.0"), one); /* so this is the other */
	assert_string_equal(at(f, "0000:03:00.0")->moved_from, "00:01.0/00.0");
}

static void of_two_twins_that_moved_none_is_guessed(void **state)
{
	struct fixture *f = *state;
	const char *one, *two;

	twins(f);
	one = id_at(f, "0000:01:00.0");
	two = id_at(f, "0000:02:00.0");
	reboot(f);
	card_at(f, "0000:03:00.0", "00:03.0/00.0", 0x2204);
	card_at(f, "0000:04:00.0", "00:04.0/00.0", 0x2204);
	look(f);
	assert_int_equal(f->records.n, 4);
	assert_string_not_equal(id_at(f, "0000:03:00.0"), one);
	assert_string_not_equal(id_at(f, "0000:03:00.0"), two);
	assert_string_not_equal(id_at(f, "0000:04:00.0"), one);
	assert_string_not_equal(id_at(f, "0000:04:00.0"), two);
}

/* One has moved and an equal one was added: nobody can say which is which. */
static void a_moved_one_beside_a_new_equal_one_is_not_guessed(void **state)
{
	struct fixture *f = *state;
	const char *id;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2204);
	look(f);
	id = id_at(f, "0000:01:00.0");
	reboot(f);
	card_at(f, "0000:02:00.0", "00:02.0/00.0", 0x2204);
	card_at(f, "0000:03:00.0", "00:03.0/00.0", 0x2204);
	look(f);
	assert_string_not_equal(id_at(f, "0000:02:00.0"), id);
	assert_string_not_equal(id_at(f, "0000:03:00.0"), id);
	assert_null(at(f, "0000:02:00.0")->moved_from);
}

static void what_is_not_there_has_no_record_here(void **state)
{
	struct fixture *f = *state;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2204);
	look(f);
	hand_function(f->host, "0000:05:00.0", 0x020000, "e1000", 5, -1);
	assert_null(at(f, "0000:05:00.0")); /* it is of no card */
	assert_null(at(f, "0000:06:00.0"));
	reboot(f);
	look(f);
	assert_int_equal(f->records.n, 1);
	assert_false(((struct card_record *)f->records.items)->present);
}

/* ---- the store ---- */

static void who_comes_second_does_not_write(void **state)
{
	struct fixture *f = *state;
	struct card_record first, second;
	struct error err = { 0 };

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2204);
	look(f);
	look(f);
	first = second = *at(f, "0000:01:00.0");
	first.address = "0000:07:00.0";
	second.address = "0000:08:00.0";
	assert_int_equal(record_save(f->store, NODE, &first, &err), 1);
	assert_int_equal(record_save(f->store, NODE, &second, &err), 0);
	assert_int_equal(records_load(f->store, NODE, f->arena, &f->records, &err), 1);
	assert_string_equal(((struct card_record *)f->records.items)->address, "0000:07:00.0");
	assert_int_equal(records_load(f->store, "other", f->arena, &f->records, &err), 0);
}

static void a_damaged_row_is_told_by_its_key(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };

	assert_int_equal(
		store_put_if(f->store, "cards/" NODE "/card-x", 0, "{\"ids\": 3}", NULL, &err), 1);
	assert_int_equal(records_load(f->store, NODE, f->arena, &f->records, &err), -1);
	assert_non_null(strstr(err.message, "cards/" NODE "/card-x"));
}

/* ---- claims ---- */

static const char *owner_of(struct fixture *f, const char *id)
{
	struct error err = { 0 };
	const char *owner = NULL;

	assert_true(card_owner(f->store, NODE, id, f->arena, &owner, &err) >= 0);
	return owner ? owner : "nobody";
}

static void one_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	const char *id;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2204);
	look(f);
	id = id_at(f, "0000:01:00.0");
	assert_string_equal(owner_of(f, id), "nobody");
	assert_int_equal(card_unclaim(f->store, NODE, id, "vm-1", &err), 0);
	assert_int_equal(card_claim(f->store, NODE, id, "vm-1", NULL, 1, &err), 0);
	assert_int_equal(card_claim(f->store, NODE, id, "vm-1", NULL, -1, &err), 0);
	look(f);
	assert_int_equal(at(f, "0000:01:00.0")->was_bound, 1); /* as was noted first */

	assert_int_equal(card_claim(f->store, NODE, id, "vm-2", NULL, 0, &err), -1);
	assert_int_equal(err.code, ERROR_CONFLICT);
	assert_non_null(strstr(err.message, "vm-1"));
	assert_non_null(strstr(err.hint, "vm-1"));
	assert_int_equal(card_unclaim(f->store, NODE, id, "vm-2", &err), 0); /* not its own */
	assert_string_equal(owner_of(f, id), "vm-1");

	assert_int_equal(card_unclaim(f->store, NODE, id, "vm-1", &err), 0);
	assert_string_equal(owner_of(f, id), "nobody");
	look(f);
	assert_int_equal(at(f, "0000:01:00.0")->was_bound, -1);
	assert_int_equal(card_claim(f->store, NODE, "card-none", "vm-1", NULL, 0, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
	assert_int_equal(card_owner(f->store, NODE, "card-none", f->arena, &id, &err), -1);
	assert_int_equal(err.code, ERROR_NOT_FOUND);
}

struct racer {
	struct fixture *f;
	pthread_barrier_t *start;
	const char *id;
	char vm[16];
	int r;
	struct error err;
};

static void *claim(void *data)
{
	struct racer *racer = data;

	pthread_barrier_wait(racer->start);
	racer->r = card_claim(racer->f->store, NODE, racer->id, racer->vm, NULL, 0, &racer->err);
	return NULL;
}

/* Somebody else who writes the same rows all the time, as the daemon does when cards change. */
static void *disturb(void *data)
{
	struct racer *racer = data;
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list records;

	pthread_barrier_wait(racer->start);
	for (int i = 0; i < 5; i++) {
		assert_true(records_load(racer->f->store, NODE, arena, &records, NULL) >= 0);
		for (LIST_EACH(struct card_record, r, &records))
			assert_true(record_save(racer->f->store, NODE, r, NULL) >= 0);
	}
	return NULL;
}

/* Two want it at the same moment: one has it, the other is told who, whatever else is written. */
static void a_race_has_one_winner(void **state)
{
	struct fixture *f = *state;
	struct racer racers[3] = { 0 };
	pthread_t threads[3];
	pthread_barrier_t start;
	int winner;

	card_at(f, "0000:01:00.0", "00:01.0/00.0", 0x2204);
	look(f);
	pthread_barrier_init(&start, NULL, 3);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < 3; i++) {
			racers[i] = (struct racer){ .f = f,
						    .start = &start,
						    .id = id_at(f, "0000:01:00.0") };
			snprintf(racers[i].vm, sizeof(racers[i].vm), "vm-%d", i);
			assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? claim : disturb,
							&racers[i]),
					 0);
		}
		for (int i = 0; i < 3; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(racers[0].r + racers[1].r, -1);
		winner = racers[0].r == 0 ? 0 : 1;
		assert_string_equal(owner_of(f, racers[0].id), racers[winner].vm);
		assert_int_equal(racers[!winner].err.code, ERROR_CONFLICT);
		assert_non_null(strstr(racers[!winner].err.message, racers[winner].vm));
		assert_int_equal(
			card_unclaim(f->store, NODE, racers[0].id, racers[winner].vm, NULL), 0);
	}
	pthread_barrier_destroy(&start);
}

static size_t stored_under(struct fixture *f, const char *node)
{
	struct list records = { 0 };
	struct error err = { 0 };

	assert_true(records_load(f->store, node, f->arena, &records, &err) >= 0);
	return records.n;
}

static void save_under(struct fixture *f, const char *node, const char *id, const char *path,
		       const char *owner)
{
	const struct card_record record = { .id = id, .ids = "1002:5159 1af4:1100", .path = path,
					    .owner = owner, .was_bound = -1 };
	struct error err = { 0 };

	assert_int_equal(record_save(f->store, node, &record, &err), 1);
}

/* What an earlier version stored under the host's name is under its id from then on. */
static void records_follow_the_host_not_its_name(void **state)
{
	struct fixture *f = *state;
	const char *owner = NULL;
	struct error err = { 0 };

	assert_int_equal(records_adopt(f->store, "node-1", "alpha", &err), 0);
	save_under(f, "alpha", "card-1", "00:01.0/00.0", "vm-1");
	save_under(f, "alpha", "card-2", "00:02.0/00.0", NULL);
	save_under(f, "alphabet", "card-3", "00:03.0/00.0", NULL);
	assert_int_equal(records_adopt(f->store, "node-1", "alpha", &err), 0);
	assert_int_equal(stored_under(f, "node-1"), 2);
	assert_int_equal(stored_under(f, "alpha"), 0);
	assert_int_equal(stored_under(f, "alphabet"), 1);
	assert_int_equal(card_owner(f->store, "node-1", "card-1", f->arena, &owner, &err), 1);
	assert_string_equal(owner, "vm-1");
	assert_int_equal(records_adopt(f->store, "node-1", "beta", &err), 0);
	assert_int_equal(stored_under(f, "node-1"), 2);
	/* an earlier version ran once more, and minted another record of the same card */
	save_under(f, "beta", "card-9", "00:01.0/00.0", NULL);
	assert_int_equal(records_adopt(f->store, "node-1", "beta", &err), 0);
	assert_int_equal(stored_under(f, "node-1"), 2);
}

static void records_of_the_only_other_name_are_meant(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };

	save_under(f, "old", "card-1", "00:01.0/00.0", "vm-1");
	assert_int_equal(records_adopt(f->store, "node-1", "new", &err), 0);
	assert_int_equal(stored_under(f, "node-1"), 1);
	save_under(f, "older", "card-2", "00:02.0/00.0", NULL);
	assert_int_equal(records_adopt(f->store, "node-2", "new", &err), 0);
	assert_int_equal(stored_under(f, "node-2"), 0); /* of two nobody can say */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mints_at_first_sight_and_knows_again),
		TEST(a_new_bus_number_is_no_move),
		TEST(another_slot_is_a_move_until_confirmed),
		TEST(two_that_swapped_are_told_by_their_ids),
		TEST(another_card_in_its_place_is_another),
		TEST(twins_keep_their_places),
		TEST(of_two_twins_that_moved_none_is_guessed),
		TEST(a_moved_one_beside_a_new_equal_one_is_not_guessed),
		TEST(what_is_not_there_has_no_record_here),
		TEST(who_comes_second_does_not_write),
		TEST(a_damaged_row_is_told_by_its_key),
		TEST(one_at_a_time),
		TEST(a_race_has_one_winner),
		TEST(records_follow_the_host_not_its_name),
		TEST(records_of_the_only_other_name_are_meant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
