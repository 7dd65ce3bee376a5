/* SPDX-License-Identifier: Apache-2.0 */
/* Files under a host root: nothing leads outside it, kernel-like links work, renames do not disturb. */
#include "unit.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/fdpath.h"

struct tree {
	char path[64];
	int root;
};

static void put(const struct tree *t, const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", t->path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void directory(const struct tree *t, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->path, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void link_to(const struct tree *t, const char *target, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->path, name);
	assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	strcpy(t->path, "/tmp/horcrux-fdpath-XXXXXX");
	assert_non_null(mkdtemp(t->path));
	t->root = fdpath_root(t->path);
	assert_true(t->root >= 0);
	directory(t, "sys");
	directory(t, "sys/devices");
	directory(t, "sys/devices/card");
	directory(t, "sys/bus");
	directory(t, "dev");
	put(t, "sys/devices/card/vendor", "0x10de\n");
	put(t, "sys/devices/card/numvfs", "16\n");
	put(t, "sys/devices/card/vf_device", "25b6\n");
	put(t, "sys/devices/card/override", "");
	link_to(t, "../devices/card", "sys/bus/card");
	link_to(t, "../../../bus/pci/drivers/nvidia", "sys/devices/card/driver");
	link_to(t, "/etc/passwd", "dev/absolute");
	link_to(t, "../../../../../../../../etc/passwd", "dev/climbing");
	*state = t;
	return 0;
}

static int forget(const char *path, const struct stat *st UNUSED, int type UNUSED,
		  struct FTW *ftw UNUSED)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct tree *t = *state;

	close(t->root);
	nftw(t->path, forget, 16, FTW_DEPTH | FTW_PHYS);
	free(t);
	return 0;
}

static void reads(void **state)
{
	const struct tree *t = *state;
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *all = NULL;
	char text[32], small[3];
	uint64_t n = 0;

	assert_int_equal(fdpath_read(t->root, "sys/bus/card/vendor", text, sizeof(text)), 6);
	assert_string_equal(text, "0x10de");
	assert_int_equal(fdpath_read(t->root, "sys/bus/card/vendor", small, sizeof(small)), -EFBIG);
	assert_int_equal(fdpath_read_u64(t->root, "sys/bus/card/vendor", &n), 0);
	assert_int_equal(n, 0x10de);
	assert_int_equal(fdpath_read_u64(t->root, "sys/bus/card/numvfs", &n), 0);
	assert_int_equal(n, 16);
	assert_int_equal(fdpath_read_hex(t->root, "sys/bus/card/vf_device", &n), 0);
	assert_int_equal(n, 0x25b6);
	assert_int_equal(fdpath_read_u64(t->root, "sys/bus/card/vf_device", &n), -EINVAL);
	assert_int_equal(fdpath_read_u64(t->root, "sys/bus/card/override", &n), -EINVAL);
	assert_int_equal(fdpath_read_all(t->root, "sys/bus/card/vendor", 100, arena, &all), 0);
	assert_string_equal(all, "0x10de\n");
	assert_int_equal(fdpath_read_all(t->root, "sys/bus/card/vendor", 3, arena, &all), -EFBIG);
	assert_int_equal(fdpath_read(t->root, "sys/no/such", text, sizeof(text)), -ENOENT);
}

/* From the descriptor of a directory, one name deep: nothing leads out of it. */
static void scans_a_directory(void **state)
{
	const struct tree *t = *state;
	CLEAN_FD int dir = fdpath_open(t->root, "sys/bus/card", O_RDONLY | O_DIRECTORY);
	char text[64], small[3];

	assert_true(dir >= 0);
	link_to(t, "/sys/devices/card/vendor", "sys/devices/card/outside");
	assert_int_equal(fdpath_attribute(dir, "vendor", text, sizeof(text)), 6);
	assert_string_equal(text, "0x10de");
	assert_int_equal(fdpath_attribute(dir, "override", text, sizeof(text)), 0);
	assert_string_equal(text, "");
	assert_int_equal(fdpath_attribute(dir, "vendor", small, sizeof(small)), -EFBIG);
	assert_int_equal(fdpath_attribute(dir, "outside", text, sizeof(text)), -ENOENT);
	assert_int_equal(fdpath_attribute(dir, "../card/vendor", text, sizeof(text)), -ENOENT);
	assert_int_equal(fdpath_entry_link(dir, "driver", text, sizeof(text)), 31);
	assert_string_equal(text, "../../../bus/pci/drivers/nvidia");
	assert_int_equal(fdpath_entry_link(dir, "driver", small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(fdpath_entry_link(dir, "vendor", text, sizeof(text)), -EINVAL);
	assert_int_equal(fdpath_entry_link(dir, "physfn", text, sizeof(text)), -ENOENT);
	assert_int_equal(fdpath_entry_link(dir, "../card", text, sizeof(text)), -EINVAL);
}

static void writes(void **state)
{
	const struct tree *t = *state;
	char text[32];

	assert_int_equal(fdpath_write(t->root, "sys/bus/card/override", "vfio-pci"), 0);
	fdpath_read(t->root, "sys/bus/card/override", text, sizeof(text));
	assert_string_equal(text, "vfio-pci");
	assert_int_equal(fdpath_write(t->root, "sys/bus/card/nothing", "x"), -ENOENT);
}

static void stays_inside(void **state)
{
	const struct tree *t = *state;
	char text[4096];

	assert_int_equal(fdpath_read(t->root, "dev/absolute", text, sizeof(text)), -ENOENT);
	assert_int_equal(fdpath_read(t->root, "dev/climbing", text, sizeof(text)), -ENOENT);
	assert_int_equal(fdpath_read(t->root, "../../etc/passwd", text, sizeof(text)), -ENOENT);
}

static void follows_no_magic_links(void **state UNUSED)
{
	int slash = fdpath_root("/");
	char path[64];

	snprintf(path, sizeof(path), "proc/self/fd/%d", slash);
	assert_int_equal(fdpath_open(slash, path, O_RDONLY), -ELOOP);
	close(slash);
}

static void names_dangling_links(void **state)
{
	const struct tree *t = *state;
	char name[64], tiny[4];

	assert_int_equal(fdpath_link_name(t->root, "sys/bus/card/driver", name, sizeof(name)), 6);
	assert_string_equal(name, "nvidia");
	assert_int_equal(fdpath_link_name(t->root, "sys/bus/card/driver", tiny, sizeof(tiny)),
			 -ENAMETOOLONG);
	assert_int_equal(fdpath_link_name(t->root, "sys/bus/card/vendor", name, sizeof(name)), -EINVAL);
	assert_int_equal(fdpath_exists(t->root, "sys/bus/card/driver"), 1);
	assert_int_equal(fdpath_exists(t->root, "sys/bus/card/physfn"), 0);
	assert_int_equal(fdpath_exists(t->root, "sys/bus/card/vendor/x"), 0);
}

static void lists_sorted(void **state)
{
	const struct tree *t = *state;
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	struct list names;
	const char *const *name;

	assert_int_equal(fdpath_list(t->root, "sys", arena, &names), 2);
	name = names.items;
	assert_string_equal(name[0], "bus");
	assert_string_equal(name[1], "devices");
	assert_int_equal(fdpath_list(t->root, "sys/none", arena, &names), -ENOENT);
}

static atomic_bool storm_over;

static void *rename_storm(void *arg)
{
	const struct tree *t = arg;
	char a[128], b[128];

	snprintf(a, sizeof(a), "%s/a", t->path);
	snprintf(b, sizeof(b), "%s/b", t->path);
	close(open(a, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	while (!atomic_load(&storm_over)) {
		assert_int_equal(rename(a, b), 0);
		assert_int_equal(rename(b, a), 0);
	}
	return NULL;
}

/* With ".." in a link, openat2 says EAGAIN while anything is renamed anywhere: it must be retried. */
static void survives_a_storm_of_renames(void **state)
{
	const struct tree *t = *state;
	pthread_t storm;
	char text[32];
	int failed = 0;

	atomic_store(&storm_over, false);
	assert_int_equal(pthread_create(&storm, NULL, rename_storm, *state), 0);
	for (int i = 0; i < 20000; i++)
		failed += fdpath_read(t->root, "sys/bus/card/vendor", text, sizeof(text)) != 6;
	atomic_store(&storm_over, true);
	pthread_join(storm, NULL);
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads, setup, teardown),
		cmocka_unit_test_setup_teardown(scans_a_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(writes, setup, teardown),
		cmocka_unit_test_setup_teardown(stays_inside, setup, teardown),
		cmocka_unit_test(follows_no_magic_links),
		cmocka_unit_test_setup_teardown(names_dangling_links, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_sorted, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_a_storm_of_renames, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
