/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full scan against a bare open, read, close of the files it reads, on a plain tree of 64 cards
 * of two functions. Both run in turn, many times; what counts is the median of the ratios of
 * neighbours, so that whatever slows the machine slows both.
 *
 * The bare side opens each file by its full path, as a C loop would, reads it once and closes it.
 * It has no links to read, no directory to list and nothing to parse: those are the scan's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../unit/tree.h"
#include "base/arena.h"
#include "host/inventory.h"

enum { CARDS = 64, ROUNDS = 41, PATH_BYTES = 256, BUFFER = 4096 };

/* What the scan reads of an endpoint that has everything. */
static const struct {
	const char *name, *text;
} attributes[] = {
	{ "aer_dev_correctable", "RxErr 0\nBadTLP 0\nBadDLLP 0\nRollover 0\nTimeout 0\n"
				 "NonFatalErr 0\nCorrIntErr 0\nHeaderOF 0\nTOTAL_ERR_COR 0\n" },
	{ "aer_dev_fatal",
	  "Undefined 0\nDLP 0\nSDES 0\nTLP 0\nFCP 0\nCmpltTO 0\nCmpltAbrt 0\n"
	  "UnxCmplt 0\nRxOF 0\nMalfTLP 0\nECRC 0\nUnsupReq 0\nTOTAL_ERR_FATAL 0\n" },
	{ "class", NULL },
	{ "current_link_speed", "2.5 GT/s PCIe\n" },
	{ "current_link_width", "16\n" },
	{ "device", NULL },
	{ "local_cpulist", "0-23,48-71\n" },
	{ "max_link_speed", "16.0 GT/s PCIe\n" },
	{ "max_link_width", "16\n" },
	{ "numa_node", "0\n" },
	{ "power/runtime_status", "active\n" },
	{ "power_state", "D0\n" },
	{ "reset_method", "flr bus\n" },
	{ "resource", NULL },
	{ "revision", NULL },
	{ "subsystem_device", NULL },
	{ "subsystem_vendor", NULL },
	{ "vendor", NULL },
};

/* What is in such a directory besides, and is not read. */
static const char *const others[] = {
	"ari_enabled",
	"broken_parity_status",
	"config",
	"consistent_dma_mask_bits",
	"d3cold_allowed",
	"dma_mask_bits",
	"driver_override",
	"enable",
	"irq",
	"modalias",
	"msi_bus",
	"uevent",
	"remove",
	"rescan",
	"reset",
	"resource0",
	"resource1",
};

struct paths {
	char (*items)[PATH_BYTES];
	size_t n;
};

static void make_function(struct tree *tree, struct paths *paths, int card, int number)
{
	char path[PATH_BYTES], address[32];
	struct tree_function f = { path,
				   0x10de,
				   number ? 0x22e8 : 0x2b85,
				   number ? 0x040300 : 0x030000,
				   number ? "snd_hda_intel" : "nvidia",
				   16 + card };

	snprintf(address, sizeof(address), "0000:%02x:00.%d", card + 1, number);
	snprintf(path, sizeof(path), "pci0000:00/0000:00:%02x.%d/%s", card / 8 + 1, card % 8,
		 address);
	tree_function(tree, &f);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		tree_attribute(tree, address, others[i], "0\n");
	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		if (attributes[i].text)
			tree_attribute(tree, address, attributes[i].name, attributes[i].text);
		snprintf(paths->items[paths->n++], PATH_BYTES, "%s/sys/bus/pci/devices/%s/%s",
			 tree->path, address, attributes[i].name);
	}
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double bare(const struct paths *paths)
{
	double start = now_us();
	char buf[BUFFER];

	for (size_t i = 0; i < paths->n; i++) {
		int fd = open(paths->items[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, buf, sizeof(buf)) <= 0) {
			fprintf(stderr, "%s: %s\n", paths->items[i], strerror(errno));
			exit(1);
		}
		close(fd);
	}
	return now_us() - start;
}

static double scan(const struct host_root *root, uint64_t *reads)
{
	double start = now_us(), took;
	struct error err = { 0 };
	struct inventory *inv = inventory_build(root, NULL, NULL, NULL, NULL, &err);

	took = now_us() - start;
	if (!inv || inv->cards.n != CARDS || inv->functions.n != 2 * CARDS) {
		fprintf(stderr, "the scan did not find the cards: %s\n", err.message);
		exit(1);
	}
	*reads = inv->reads;
	inventory_release(inv);
	return took;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(values[0]), compare);
	return values[ROUNDS / 2];
}

int main(void)
{
	double scans[ROUNDS], bares[ROUNDS], ratios[ROUNDS];
	struct paths paths = { 0 };
	struct tree tree;
	uint64_t reads;

	paths.items = calloc(2 * CARDS * sizeof(attributes) / sizeof(attributes[0]), PATH_BYTES);
	tree_make(&tree);
	for (int card = 0; card < CARDS; card++)
		for (int number = 0; number < 2; number++)
			make_function(&tree, &paths, card, number);
	scan(&tree.root, &reads); /* both warm */
	bare(&paths);
	for (int i = 0; i < ROUNDS; i++) {
		scans[i] = scan(&tree.root, &reads);
		bares[i] = bare(&paths);
		ratios[i] = scans[i] / bares[i];
	}
	printf("scan of %d two-function cards: %.2f x bare (%.0f us, bare %.0f us; %llu opens, "
	       "bare %zu; medians of %d)\n",
	       CARDS, median(ratios), median(scans), median(bares), (unsigned long long)reads,
	       paths.n, ROUNDS);
	tree_remove(&tree);
	free(paths.items);
	return 0;
}
