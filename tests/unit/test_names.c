/* SPDX-License-Identifier: Apache-2.0 */
/* Names from a small pci.ids, from the supplement, and from none. */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/names.h"
#include "host/names_supplement.h"

enum { THREADS = 4, LOOK_UPS = 2000 };

static const char ids[] = "# a comment\n"
			  "\n"
			  "1002  Advanced Micro Devices, Inc. [AMD/ATI]\n"
			  "\t66a1  Vega 20 [Radeon Pro VII/Radeon Instinct MI50 32GB]\n"
			  "10de  NVIDIA Corporation\n"
			  "# inside a block\n"
			  "\t1b80  GP104 [GeForce GTX 1080]\n"
			  "\t\t10de 119e  GeForce GTX 1080 Founders Edition\n"
			  "\t\t1043 8597  STRIX GTX 1080\n"
			  "\t1b81  GP104 [GeForce GTX 1070]\n"
			  "\t\t10de 119d  GeForce GTX 1070 Founders Edition\n"
			  "ffff  Illegal Vendor ID\n"
			  "C 03  Display controller\n"
			  "\t00  VGA compatible controller\n"
			  "\t\t00  VGA controller\n"
			  "\t02  3D controller\n"
			  "C 0c  Serial bus controller\n"
			  "\t03  USB controller"; /* and no newline at the end */

struct fixture {
	char path[64];
	struct names *names;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	snprintf(f->path, sizeof(f->path), "/tmp/horcrux-ids-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, ids, sizeof(ids) - 1), sizeof(ids) - 1);
	close(fd);
	f->names = names_open_file(f->path);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	names_unref(f->names);
	unlink(f->path);
	free(f);
	return 0;
}

static void finds_names(void **state)
{
	struct names *n = ((struct fixture *)*state)->names;

	assert_string_equal(names_vendor(n, 0x10de), "NVIDIA Corporation");
	assert_string_equal(names_vendor(n, 0x1002), "Advanced Micro Devices, Inc. [AMD/ATI]");
	assert_string_equal(names_vendor(n, 0xffff), "Illegal Vendor ID");
	assert_string_equal(names_device(n, 0x10de, 0x1b80), "GP104 [GeForce GTX 1080]");
	assert_string_equal(names_device(n, 0x10de, 0x1b81), "GP104 [GeForce GTX 1070]");
	assert_string_equal(names_subsystem(n, 0x10de, 0x1b80, 0x1043, 0x8597), "STRIX GTX 1080");
	assert_string_equal(names_class(n, 0x030000), "VGA compatible controller");
	assert_string_equal(names_class(n, 0x030200), "3D controller");
	assert_string_equal(names_class(n, 0x0c0330), "USB controller");
}

static void knows_what_it_does_not_know(void **state)
{
	struct names *n = ((struct fixture *)*state)->names;

	assert_null(names_vendor(n, 0x8086));
	assert_null(names_device(n, 0x8086, 0x1b80));
	/* the id of another vendor's device, of a subsystem, of a class */
	assert_null(names_device(n, 0x1002, 0x1b80));
	assert_null(names_device(n, 0x10de, 0x1043));
	assert_null(names_device(n, 0xffff, 0x0000));
	assert_null(names_subsystem(n, 0x10de, 0x1b81, 0x1043, 0x8597));
	assert_null(names_subsystem(n, 0x10de, 0x1b82, 0x1043, 0x8597));
	assert_null(names_subsystem(n, 0x10de, 0x1b80, 0x10de, 0x119d));
	assert_null(names_class(n, 0x120000));
	/* a sub-class that is not listed goes by its base class */
	assert_string_equal(names_class(n, 0x038000), "Display controller");
}

static void keeps_names(void **state)
{
	struct names *n = ((struct fixture *)*state)->names;
	const char *first = names_device(n, 0x10de, 0x1b80);

	for (uint16_t device = 0; device < 5000; device++)
		names_device(n, 0x10de, device);
	assert_ptr_equal(names_device(n, 0x10de, 0x1b80), first);
}

static void supplements(void **state)
{
	struct names *n = ((struct fixture *)*state)->names, *none = names_open_file(NULL);

	assert_string_equal(names_device(n, 0x10de, 0x2b85), "GB202 [GeForce RTX 5090]");
	assert_string_equal(names_device(none, 0x10de, 0x26b9), "AD102GL [L40S]");
	assert_string_equal(names_device(none, 0x1002, 0x74a1), "Aqua Vanjaram [Instinct MI300X]");
	assert_string_equal(names_device(none, 0x8086, 0xe20b), "Battlemage G21 [Arc B580]");
	assert_null(names_device(none, 0x10de, 0x1b80));
	assert_null(names_vendor(none, 0x10de));
	assert_null(names_class(none, 0x030000));
	names_unref(none);
	none = names_open_file("/nonexistent/pci.ids");
	assert_null(names_vendor(none, 0x10de));
	names_unref(none);
}

static void supplement_is_sorted(void **state UNUSED)
{
	assert_true(supplement_entries > 100);
	for (int i = 1; i < supplement_entries; i++) {
		uint32_t before = (uint32_t)supplement[i - 1].vendor << 16 |
				  supplement[i - 1].device;
		uint32_t here = (uint32_t)supplement[i].vendor << 16 | supplement[i].device;

		if (before >= here)
			fail_msg("%s is not after %s", supplement[i].name, supplement[i - 1].name);
		assert_true(supplement[i].name[0]);
	}
}

static void *look_up(void *names)
{
	for (int i = 0; i < LOOK_UPS; i++) {
		uint16_t device = (uint16_t)(0x1b00 + i % 256);
		const char *name = names_device(names, 0x10de, device);

		if (device == 0x1b81 && strcmp(name, "GP104 [GeForce GTX 1070]"))
			return names;
	}
	return NULL;
}

static void is_safe_among_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[THREADS];
	void *wrong;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_up, f->names), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
}

/* The distribution's own file, which the package depends on; where the host root has none. */
static void reads_the_real_file(void **state UNUSED)
{
	const struct host_root none = { .fd = -1 };
	struct names *n = names_open(&none);

	assert_string_equal(names_vendor(n, 0x8086), "Intel Corporation");
	assert_string_equal(names_device(n, 0x10de, 0x1eb8), "TU104GL [Tesla T4]");
	assert_string_equal(names_class(n, 0x060400), "PCI bridge");
	assert_non_null(names_device(n, 0x10de, 0x2b85));
	names_unref(n);
}

/* The host root's own goes before that of this machine. */
static void reads_the_file_of_the_host_root(void **state UNUSED)
{
	char top[] = "/tmp/horcrux-names-XXXXXX", path[96];
	struct host_root root = { .fd = -1 };
	struct names *n;
	int fd;

	assert_non_null(mkdtemp(top));
	for (const char *const *part = (const char *const[]){ "usr", "usr/share", "usr/share/misc", NULL };
	     *part; part++) {
		snprintf(path, sizeof(path), "%s/%s", top, *part);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(path, sizeof(path), "%s/usr/share/misc/pci.ids", top);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, "8086  Another Name\n", 19) == 19);
	close(fd);
	assert_int_equal(host_root_open(&root, top, NULL), 0);
	n = names_open(&root);
	assert_string_equal(names_vendor(n, 0x8086), "Another Name");
	assert_null(names_vendor(n, 0x1002));
	names_unref(n);
	host_root_close(&root);
	unlink(path);
	for (char *slash; (slash = strrchr(path, '/')) && slash > path + strlen("/tmp");) {
		*slash = '\0';
		rmdir(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finds_names, setup, teardown),
		cmocka_unit_test_setup_teardown(knows_what_it_does_not_know, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_names, setup, teardown),
		cmocka_unit_test_setup_teardown(supplements, setup, teardown),
		cmocka_unit_test(supplement_is_sorted),
		cmocka_unit_test_setup_teardown(is_safe_among_threads, setup, teardown),
		cmocka_unit_test(reads_the_real_file),
		cmocka_unit_test(reads_the_file_of_the_host_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
