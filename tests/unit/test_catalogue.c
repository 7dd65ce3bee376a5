/* SPDX-License-Identifier: Apache-2.0 */
/* What drivers tell of the four interfaces in, one catalogue out; and what is read again, and what not. */
#include "unit.h"

#include "hand.h"
#include "vgpu/catalogue.h"

enum { VFS_MAX = 8, TYPES_MAX = 8 };

static const char card_at[] = "0000:02:00.0";

/* ---- a driver that answers ---- */

struct told {
	const char *id, *name, *description;
	int64_t available;
};

static struct {
	struct told types[TYPES_MAX];
	uint64_t set[VFS_MAX]; /* by the VF's function, from 1 */
	int fail;	       /* errno of what is read; 0: it is well */
	int whole, counts, vf_types;
	struct pci_address asked;
} driver;

static int types_told(struct privd *privd, struct pci_address address, enum privd_types value,
		      struct arena *arena, struct list *types, struct error *err)
{
	struct privd_type *type;

	(void)privd;
	driver.asked = address;
	if (driver.fail)
		return error_errno(err, ERROR_SYSTEM, driver.fail, "the helper cannot read it");
	value == PRIVD_TYPES_WHOLE ? driver.whole++ : driver.counts++;
	for (const struct told *told = driver.types; told->id; told++) {
		type = list_add(arena, types, struct privd_type);
		snprintf(type->id, sizeof(type->id), "%s", told->id);
		type->available = told->available;
		if (value != PRIVD_TYPES_WHOLE)
			continue;
		snprintf(type->name, sizeof(type->name), "%s", told->name ?: "");
		snprintf(type->description, sizeof(type->description), "%s", told->description ?: "");
	}
	return 0;
}

static int vf_types_told(struct privd *privd, const struct list *addresses, struct arena *arena,
			 struct list *types, struct error *err)
{
	(void)privd, (void)err;
	driver.vf_types++;
	for (LIST_EACH(const struct pci_address, vf, addresses))
		*list_add(arena, types, struct privd_vf_type) = (struct privd_vf_type){
			.address = privd_address_out(*vf), .type = driver.set[vf->function]
		};
	return 0;
}

static const struct vgpu_reader reader = { NULL, types_told, vf_types_told };

/* ---- a host with one card ---- */

struct story {
	struct hand_host *host;
	struct function *pf;
	struct list offers, shared;
	struct gpu_facts facts;
};

static struct story *story_of(const char *interface, uint16_t vendor, const char *on, int vfs)
{
	struct hand_host *host = hand_new();
	struct story *s = arena_new_of(host->arena, struct story);
	char text[PCI_ADDRESS_TEXT];
	struct function *vf;

	memset(&driver, 0, sizeof(driver));
	s->host = host;
	s->pf = hand_function(host, card_at, 0x030200, on, 5, 0);
	s->pf->vendor = vendor;
	s->pf->vgpu = interface;
	hand_card(host, s->pf, NULL);
	if (vfs) {
		s->pf->sriov = arena_new_of(host->arena, struct sriov);
		s->pf->sriov->total = vfs;
	}
	for (int i = 0; i < vfs; i++) {
		snprintf(text, sizeof(text), "0000:02:00.%d", i + 1);
		vf = hand_function(host, text, 0x030200, on, 6 + i, i + 1);
		vf->physfn = arena_new_of(host->arena, struct pci_address);
		*vf->physfn = s->pf->address;
		vf->vgpu = strcmp(interface, "sriov") ? interface : NULL;
		hand_card(host, vf, NULL);
		*list_add(host->arena, &s->pf->sriov->vfs, struct pci_address) = vf->address;
	}
	s->facts = (struct gpu_facts){ .inventory = &host->inv, .holders = &host->holders, .node = "host-a" };
	return s;
}

static void story_free(struct story *s)
{
	vgpu_offers_release(&s->offers);
	hand_free(s->host);
}
DEFINE_CLEANUP(struct story *, story_free)

static void add_mdev(struct story *s, const char *address, const char *uuid, const char *type, int group)
{
	struct function *f = inventory_function(&s->host->inv, hand_at(address));

	*list_add(s->host->arena, &f->mdevs, struct mdev) = (struct mdev){ uuid, type, group };
}

/* Reads what is old or touched, and makes the catalogue of it. */
static const struct wire_shared *look(struct story *s, uint64_t before)
{
	struct list old = s->offers;

	vgpu_offers_read(&reader, &s->host->inv, &old, before, s->host->arena, &s->offers);
	vgpu_offers_release(&old);
	vgpu_catalogue(&s->facts, &s->offers, s->host->arena, &s->shared);
	assert_int_equal(s->shared.n, 1);
	return s->shared.items;
}

static const struct wire_profile *profile_of(const struct wire_shared *card, const char *name)
{
	for (LIST_EACH(const struct wire_profile, it, &card->available_profiles))
		if (!strcmp(it->name, name))
			return it;
	fail_msg("there is no profile %s", name);
	return NULL;
}

static const char *reason(const struct list *unknown, const char *field)
{
	for (LIST_EACH(const struct row_pair, it, unknown))
		if (!strcmp(it->key, field))
			return it->value;
	return NULL;
}

#define LIKE(mb, most) \
	"num_heads=4, frl_config=60, framebuffer=" #mb "M, max_resolution=5120x2880, max_instance=" #most

static const struct told t4[] = {
	{ "nvidia-222", "GRID T4-1B", LIKE(1024, 16), 16 },
	{ "nvidia-230", "GRID T4-1Q", LIKE(1024, 16), 16 },
	{ "nvidia-232", "GRID T4-4Q", LIKE(4096, 4), 4 },
};

/* ---- the card itself ---- */

static void an_empty_card_says_how_many_fit(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);
	const struct wire_profile *p;
	const struct wire_shared *card;

	(void)state;
	memcpy(driver.types, t4, sizeof(t4));
	card = look(s, 0);
	assert_int_equal(card->vgpu_type, VGPU_NVIDIA);
	assert_string_equal(card->vendor, "NVIDIA");
	assert_int_equal(card->free, 16);
	assert_int_equal(card->mode, -1);
	assert_non_null(reason(&card->unknown, "mode"));
	p = profile_of(card, "nvidia-222");
	assert_string_equal(p->vgpu_type, "GRID T4-1B");
	assert_int_equal(p->available, 16);
	assert_int_equal(p->max_instances, 16);
	assert_int_equal(p->framebuffer_mb, 1024);
	assert_int_equal(p->heads, 4);
	assert_int_equal(p->fits, 1);
	assert_null(p->why);
	assert_int_equal(p->unknown.n, 0);
}

static void a_size_that_is_there_shuts_out_others(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);
	const struct wire_instance *one;
	const struct wire_shared *card;

	(void)state;
	memcpy(driver.types, t4, sizeof(t4));
	driver.types[0].available = driver.types[1].available = 0;
	driver.types[2].available = 3;
	add_mdev(s, card_at, "uuid-1", "nvidia-232", 9);
	hand_holder(s->host, 77, card_at);
	card = look(s, 0);
	assert_int_equal(card->mode, VGPU_SAME_SIZE);
	assert_int_equal(card->free, 3);
	assert_string_equal(profile_of(card, "nvidia-222")->why, "carries a 4 GB type; only 4 GB types fit");
	assert_int_equal(profile_of(card, "nvidia-232")->available, 3);
	assert_int_equal(card->instances.n, 1);
	one = card->instances.items;
	assert_string_equal(one->uuid, "uuid-1");
	assert_string_equal(one->vgpu_type, "GRID T4-4Q");
	assert_int_equal(one->state, INSTANCE_IDLE);
	((struct holder *)s->host->holders.items)[0].node = "/dev/vfio/9";
	one = look(s, 0)->instances.items;
	assert_int_equal(one->state, INSTANCE_IN_USE);
	s->facts.holders = NULL;
	one = look(s, 0)->instances.items;
	assert_int_equal(one->state, -1);
	assert_non_null(reason(&one->unknown, "state"));
}

static void sizes_beside_each_other_are_mixed(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);

	(void)state;
	memcpy(driver.types, t4, sizeof(t4));
	add_mdev(s, card_at, "uuid-1", "nvidia-232", 9);
	assert_int_equal(look(s, 0)->mode, VGPU_MIXED); /* others are offered */
	driver.types[0].available = driver.types[1].available = driver.types[2].available = 0;
	add_mdev(s, card_at, "uuid-2", "nvidia-222", 10);
	assert_int_equal(look(s, UINT64_MAX)->mode, VGPU_MIXED); /* others are there */
}

static void a_full_card_tells_no_mode(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);
	const struct wire_shared *card;

	(void)state;
	memcpy(driver.types, t4, sizeof(t4));
	driver.types[0].available = driver.types[1].available = driver.types[2].available = 0;
	add_mdev(s, card_at, "uuid-1", "nvidia-232", 9);
	card = look(s, 0);
	assert_int_equal(card->mode, -1);
	assert_int_equal(card->free, 0);
	assert_string_equal(profile_of(card, "nvidia-232")->why,
			    "the driver offers no more beside the 1 instance there");
}

static void gvtg_is_told_as_it_is(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x8086, "i915", 0);
	const struct wire_profile *p;
	const struct wire_shared *card;

	(void)state;
	driver.types[0] = (struct told){ "i915-GVTg_V5_1", "GVTg_V5_1",
					 "low_gm_size: 512MB\nhigh_gm_size: 2048MB\nfence: 4\n"
					 "resolution: 1920x1200\nweight: 16\n",
					 0 };
	driver.types[1] = (struct told){ "i915-GVTg_V5_8", "GVTg_V5_8",
					 "low_gm_size: 64MB\nhigh_gm_size: 384MB\nfence: 4\n"
					 "resolution: 1024x768\nweight: 2\n",
					 2 };
	card = look(s, 0);
	assert_int_equal(card->vgpu_type, VGPU_INTEL);
	assert_int_equal(card->free, 2);
	p = profile_of(card, "i915-GVTg_V5_8");
	assert_int_equal(p->available, 2);
	assert_int_equal(p->framebuffer_mb, ROW_NULL);
	assert_non_null(reason(&p->unknown, "framebuffer_mb"));
	assert_string_equal(p->max_resolution, "1024x768");
	assert_string_equal(p->description,
			    "low_gm_size: 64MB, high_gm_size: 384MB, fence: 4, resolution: 1024x768, weight: 2");
	assert_int_equal(p->details.n, 5);
	assert_non_null(strstr(profile_of(card, "i915-GVTg_V5_1")->why, "aperture"));
}

static void a_driver_that_tells_little(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x1234, "mtty", 0);
	const struct wire_profile *p;

	(void)state;
	driver.types[0] = (struct told){ "mtty-2", NULL, NULL, -1 };
	p = profile_of(look(s, 0), "mtty-2");
	assert_null(p->vgpu_type);
	assert_int_equal(p->available, ROW_NULL);
	assert_int_equal(p->fits, -1);
	assert_null(p->why);
	for (size_t i = 0; i < 8; i++) {
		static const char *const fields[] = { "vgpu_type", "framebuffer_mb", "max_instances", "description",
						      "available", "class",	    "heads",	      "fits" };

		assert_non_null(reason(&p->unknown, fields[i]));
	}
}

/* ---- VFs with mdevs ---- */

static void a_free_vf_tells_for_all(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev_per_vf", 0x10de, "nvidia", 4);
	const struct wire_shared *card;
	char text[PCI_ADDRESS_TEXT];

	(void)state;
	driver.types[0] = (struct told){ "nvidia-746", "NVIDIA A2-4Q", LIKE(4096, 4), 1 };
	driver.types[1] = (struct told){ "nvidia-744", "NVIDIA A2-2Q", LIKE(2048, 8), 1 };
	add_mdev(s, "0000:02:00.1", "uuid-1", "nvidia-746", 20);
	driver.types[1].available = 0;
	card = look(s, 0);
	assert_string_equal(pci_address_format(driver.asked, text), "0000:02:00.2");
	assert_int_equal(profile_of(card, "nvidia-746")->available, 3);
	assert_int_equal(profile_of(card, "nvidia-744")->available, 0);
	assert_int_equal(card->mode, VGPU_SAME_SIZE);
	assert_int_equal(card->free, 3);
	assert_string_equal(((const struct wire_instance *)card->instances.items)->vf, "0000:02:00.1");
	add_mdev(s, "0000:02:00.2", "uuid-2", "nvidia-746", 21);
	hand_holder(s->host, 78, "0000:02:00.3"); /* somebody has a VF as it is */
	card = look(s, UINT64_MAX);
	assert_int_equal(profile_of(card, "nvidia-746")->available, 1);
	add_mdev(s, "0000:02:00.4", "uuid-3", "nvidia-746", 22);
	card = look(s, UINT64_MAX);
	assert_int_equal(profile_of(card, "nvidia-746")->available, 0);
	assert_string_equal(profile_of(card, "nvidia-746")->why, "none of its 4 VFs is free");
	s->facts.holders = NULL;
	assert_int_equal(look(s, UINT64_MAX)->free, ROW_NULL);
}

static void a_vf_on_another_driver_is_not_free(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev_per_vf", 0x10de, "nvidia", 3);
	struct function *vf = inventory_function(&s->host->inv, hand_at("0000:02:00.2"));
	const struct wire_shared *card;

	(void)state;
	driver.types[0] = (struct told){ "nvidia-744", "NVIDIA A2-2Q", LIKE(2048, 8), 1 };
	vf->driver = "vfio-pci";
	vf->vgpu = NULL;
	card = look(s, 0);
	assert_int_equal(card->free, 2);
	assert_int_equal(profile_of(card, "nvidia-744")->available, 2);
}

/* ---- VFs with types ---- */

static void what_the_driver_left_out_is_remembered(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("vendor_vf", 0x10de, "nvidia", 3);
	const struct wire_instance *one;
	const struct wire_profile *p;
	const struct wire_shared *card;

	(void)state;
	driver.types[0] = (struct told){ "1145", "NVIDIA L40S-1B", NULL, -1 };
	driver.types[1] = (struct told){ "1152", "NVIDIA L40S-8Q", NULL, -1 };
	card = look(s, 0);
	p = profile_of(card, "nvidia-1152");
	assert_string_equal(p->id, "1152");
	assert_int_equal(p->framebuffer_mb, 8192);
	assert_int_equal(p->max_instances, ROW_NULL);
	assert_int_equal(p->available, ROW_NULL);
	assert_int_equal(p->fits, 1);
	assert_int_equal(card->free, 3);
	driver.set[1] = 1152;
	driver.types[0] = driver.types[1];
	driver.types[1].id = NULL;
	card = look(s, UINT64_MAX);
	assert_int_equal(card->mode, VGPU_SAME_SIZE);
	p = profile_of(card, "nvidia-1145");
	assert_int_equal(p->fits, 0);
	assert_int_equal(p->available, 0);
	assert_string_equal(p->why, "carries an 8 GB type; only 8 GB types fit");
	one = card->instances.items;
	assert_null(one->uuid);
	assert_string_equal(one->vf, "0000:02:00.1");
	assert_string_equal(one->profile, "nvidia-1152");
	assert_string_equal(one->vgpu_type, "NVIDIA L40S-8Q");
	driver.set[2] = driver.set[3] = 1152;
	card = look(s, UINT64_MAX); /* nobody is left to be asked */
	assert_string_equal(profile_of(card, "nvidia-1152")->why, "none of its 3 VFs is free");
	assert_int_equal(card->free, 0);
}

static void without_a_free_vf_and_memory_nothing_is_made_up(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("vendor_vf", 0x10de, "nvidia", 1);
	const struct wire_shared *card;

	(void)state;
	driver.set[1] = 1152;
	card = look(s, 0);
	assert_true(card->available_profiles.null);
	assert_non_null(reason(&card->unknown, "available_profiles"));
	assert_int_equal(card->instances.n, 1);
	assert_non_null(reason(&((const struct wire_instance *)card->instances.items)->unknown, "vgpu_type"));
}

/* ---- plain VFs ---- */

static void plain_vfs_are_counted(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("sriov", 0x1002, "gim", 4);
	const struct wire_shared *card;

	(void)state;
	hand_holder(s->host, 79, "0000:02:00.2");
	card = look(s, 0);
	assert_int_equal(card->vgpu_type, VGPU_AMD);
	assert_int_equal(card->free, 3);
	assert_int_equal(card->available_profiles.n, 0);
	assert_false(card->available_profiles.null);
	assert_int_equal(driver.whole + driver.counts + driver.vf_types, 0);
}

/* ---- what is read, and when ---- */

static void only_what_was_touched_is_read_again(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);
	struct function again;

	(void)state;
	memcpy(driver.types, t4, sizeof(t4));
	look(s, 0);
	look(s, 0);
	assert_int_equal(driver.whole, 1);
	assert_int_equal(driver.counts, 0);
	look(s, UINT64_MAX); /* it is old: its numbers */
	assert_int_equal(driver.counts, 1);
	again = *s->pf; /* it was touched: another one in the inventory */
	again.refs = 2;
	((struct function **)s->host->inv.functions.items)[0] = &again;
	look(s, 0);
	assert_int_equal(driver.counts, 2);
	assert_int_equal(driver.whole, 1);
	driver.types[3] = (struct told){ "nvidia-319", "GRID T4-4C", LIKE(4096, 4), 4 };
	profile_of(look(s, UINT64_MAX), "nvidia-319"); /* one that was not known needs its words */
	assert_int_equal(driver.whole, 2);
	vgpu_offers_release(&s->offers);
	((struct function **)s->host->inv.functions.items)[0] = s->pf;
}

static void what_cannot_be_read_is_unknown(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);
	const struct wire_shared *card;

	(void)state;
	driver.fail = EIO;
	card = look(s, 0);
	assert_true(card->available_profiles.null);
	assert_non_null(strstr(reason(&card->unknown, "available_profiles"), "the helper cannot read it"));
	assert_int_equal(card->free, ROW_NULL);
	driver.fail = 0;
	memcpy(driver.types, t4, sizeof(t4));
	assert_int_equal(look(s, UINT64_MAX)->available_profiles.n, 3);
	driver.fail = EIO;
	assert_true(look(s, UINT64_MAX)->available_profiles.null);
	s->facts.offered_unknown = "horcrux-privd cannot be reached";
	vgpu_catalogue(&s->facts, NULL, s->host->arena, &s->shared);
	card = s->shared.items;
	assert_string_equal(reason(&card->unknown, "available_profiles"), "horcrux-privd cannot be reached");
}

/* ---- of all cards ---- */

static void profiles_of_several_cards_are_one(void **state)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct wire_profile of_a = { .id = "nvidia-222", .name = "nvidia-222", .vgpu_type = "GRID T4-1B",
				     .available = 3, .fits = 1 };
	struct wire_profile of_b = of_a, other = of_a;
	struct wire_shared cards[3];
	struct list shared = { .items = cards, .n = 3 }, profiles;
	const struct wire_profile *p;

	(void)state;
	memset(cards, 0, sizeof(cards));
	list_add_string(arena, &of_a.devices, "0000:01:00.0");
	list_add_string(arena, &of_b.devices, "0000:02:00.0");
	of_b.available = of_b.fits = 0;
	of_b.why = "full";
	other.vgpu_type = "GRID T4-1Q"; /* the id means another type on that card */
	cards[0] = (struct wire_shared){ .pci_id = "0000:01:00.0", .available_profiles = { &of_b, 1, 1, 0, 0 } };
	cards[1] = (struct wire_shared){ .pci_id = "0000:02:00.0", .available_profiles = { &of_a, 1, 1, 0, 0 } };
	cards[2] = (struct wire_shared){ .pci_id = "0000:03:00.0", .available_profiles = { &other, 1, 1, 0, 0 } };
	vgpu_profiles(&shared, NULL, false, arena, &profiles);
	assert_int_equal(profiles.n, 2);
	p = profiles.items;
	assert_int_equal(p->available, 3);
	assert_int_equal(p->fits, 1);
	assert_null(p->why);
	assert_int_equal(p->devices.n, 2);
	assert_int_equal(of_b.devices.n, 1); /* what it came from is as it was */
	vgpu_profiles(&shared, "0000:01:00.0", false, arena, &profiles);
	assert_int_equal(profiles.n, 1);
	assert_string_equal(((const struct wire_profile *)profiles.items)->why, "full");
	vgpu_profiles(&shared, "0000:01:00.0", true, arena, &profiles);
	assert_int_equal(profiles.n, 0);
}

static void names_are_told_with_the_card(void **state)
{
	CLEANUP(story_freep) struct story *s = story_of("mdev", 0x10de, "nvidia", 0);
	const struct gpu_offered *offered;
	struct list all;

	(void)state;
	memcpy(driver.types, t4, sizeof(t4));
	look(s, 0);
	vgpu_offered(&s->offers, s->host->arena, &all);
	assert_int_equal(all.n, 1);
	offered = all.items;
	assert_int_equal(offered->names.n, 3);
	assert_string_equal(((const char **)offered->names.items)[0], "GRID T4-1B");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_card_says_how_many_fit),
		cmocka_unit_test(a_size_that_is_there_shuts_out_others),
		cmocka_unit_test(sizes_beside_each_other_are_mixed),
		cmocka_unit_test(a_full_card_tells_no_mode),
		cmocka_unit_test(gvtg_is_told_as_it_is),
		cmocka_unit_test(a_driver_that_tells_little),
		cmocka_unit_test(a_free_vf_tells_for_all),
		cmocka_unit_test(a_vf_on_another_driver_is_not_free),
		cmocka_unit_test(what_the_driver_left_out_is_remembered),
		cmocka_unit_test(without_a_free_vf_and_memory_nothing_is_made_up),
		cmocka_unit_test(plain_vfs_are_counted),
		cmocka_unit_test(only_what_was_touched_is_read_again),
		cmocka_unit_test(what_cannot_be_read_is_unknown),
		cmocka_unit_test(profiles_of_several_cards_are_one),
		cmocka_unit_test(names_are_told_with_the_card),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
