/* SPDX-License-Identifier: Apache-2.0 */
/* What privd takes in: only messages that are right in every byte. */
#include "unit.h"

#include "base/cleanup.h"
#include "privd/protocol.h"

static struct privd_request good(enum privd_op op)
{
	struct privd_request r = {
		.header = { PRIVD_MAGIC, PRIVD_VERSION, (uint16_t)op, 42, sizeof(r), 0 },
	};

	return r;
}

static struct privd_request override(void)
{
	struct privd_request r = good(PRIVD_OVERRIDE);

	r.address = (struct privd_address){ 0x10000, 1, 31, 7, 1 };
	memcpy(r.name, "vfio-pci", 8);
	return r;
}

static const char *check(const struct privd_request *r)
{
	struct privd_request out;

	memset(&out, 0xaa, sizeof(out));
	const char *wrong = privd_request_check(r, sizeof(*r), &out);

	/* either all of it or nothing of it */
	if (!wrong)
		assert_memory_equal(&out, r, sizeof(out));
	else
		assert_int_equal(((unsigned char *)&out)[sizeof(out) - 1], 0xaa);
	return wrong;
}

static void test_sizes(void **state)
{
	struct privd_request r = override(), out;
	unsigned char bytes[sizeof(r) + 8] = { 0 };

	(void)state;
	memcpy(bytes, &r, sizeof(r));
	for (size_t n = 0; n < sizeof(bytes); n++) {
		if (n == sizeof(r))
			assert_null(privd_request_check(bytes, n, &out));
		else
			assert_non_null(privd_request_check(bytes, n, &out));
	}
}

static void test_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PRIVD_OPS; i++) {
		assert_non_null(privd_op_name(i));
		assert_int_equal(privd_op_find(privd_op_name(i)), i);
	}
	assert_int_equal(privd_op_find("nonsense"), PRIVD_NONE);
	assert_string_equal(privd_op_name(PRIVD_OPS), "none");
	assert_string_equal(privd_op_name(65535), "none");
	for (unsigned i = 0; i < PRIVD_STATUSES; i++)
		assert_string_not_equal(privd_status_name(i), "unknown");
	assert_string_equal(privd_status_name(PRIVD_STATUSES), "unknown");
	for (size_t i = 0; privd_modules[i + 1]; i++)
		assert_true(strcmp(privd_modules[i], privd_modules[i + 1]) < 0);
}

static void test_what_changes(void **state)
{
	(void)state;
	assert_true(privd_op_writes(PRIVD_UNBIND));
	assert_true(privd_op_writes(PRIVD_MODULE));
	assert_false(privd_op_writes(PRIVD_LIVE));
	assert_false(privd_op_writes(PRIVD_READ_ROM));
	assert_false(privd_op_writes(PRIVD_OPS));
	for (unsigned i = PRIVD_OVERRIDE; i < PRIVD_READ_OVERRIDE; i++)
		assert_true(privd_op_writes(i));
}

/* Each breaks a good request in one place. */
static void wrong_magic(struct privd_request *r)
{
	r->header.magic++;
}
static void wrong_version(struct privd_request *r)
{
	r->header.version++;
}
static void wrong_size(struct privd_request *r)
{
	r->header.size--;
}
static void header_tail(struct privd_request *r)
{
	r->header.zero = 1;
}
static void no_id(struct privd_request *r)
{
	r->header.id = 0;
}
static void no_operation(struct privd_request *r)
{
	r->header.op = PRIVD_NONE;
}
static void late(struct privd_request *r)
{
	r->header.op = PRIVD_LATE;
}
static void past_the_list(struct privd_request *r)
{
	r->header.op = PRIVD_OPS;
}
static void no_address(struct privd_request *r)
{
	r->address = (struct privd_address){ 0 };
}
static void unset_address(struct privd_request *r)
{
	r->address.set = 0;
}
static void odd_address(struct privd_request *r)
{
	r->address.set = 2;
}
static void device_32(struct privd_request *r)
{
	r->address.device = 32;
}
static void function_8(struct privd_request *r)
{
	r->address.function = 8;
}
static void a_value(struct privd_request *r)
{
	r->value = 1;
}
static void a_page_size(struct privd_request *r)
{
	r->size_kib = 4;
}
static void a_node(struct privd_request *r)
{
	r->node = -1;
}
static void a_uuid(struct privd_request *r)
{
	r->uuid[15] = 1;
}
static void a_slash(struct privd_request *r)
{
	r->name[3] = '/';
}
static void a_dot(struct privd_request *r)
{
	r->name[0] = '.';
}
static void a_blank(struct privd_request *r)
{
	r->name[2] = ' ';
}
static void a_newline(struct privd_request *r)
{
	r->name[8] = '\n';
}
static void a_high_byte(struct privd_request *r)
{
	r->name[0] = (char)0xc3;
}
static void no_end(struct privd_request *r)
{
	memset(r->name, 'a', sizeof(r->name));
}
static void after_the_end(struct privd_request *r)
{
	r->name[31] = 'a';
}
static void a_class(struct privd_request *r)
{
	r->n_classes = 1;
}
static void many_classes(struct privd_request *r)
{
	r->n_classes = UINT32_MAX;
}
static void class_behind(struct privd_request *r)
{
	r->classes[15] = 1;
}
static void an_address(struct privd_request *r)
{
	r->n_addresses = 1;
	r->addresses[0].set = 1;
}
static void many_addresses(struct privd_request *r)
{
	r->n_addresses = UINT32_MAX;
}
static void address_behind(struct privd_request *r)
{
	r->addresses[63].set = 1;
}

static void test_malformed(void **state)
{
	static void (*const breaks[])(struct privd_request *) = {
		wrong_magic,  wrong_version, wrong_size,    header_tail,    no_id,
		no_operation, late,	     past_the_list, no_address,	    unset_address,
		odd_address,  device_32,     function_8,    a_value,	    a_page_size,
		a_node,	      a_uuid,	     a_slash,	    a_dot,	    a_blank,
		a_newline,    a_high_byte,   no_end,	    after_the_end,  a_class,
		many_classes, class_behind,  an_address,    many_addresses, address_behind,
	};
	struct privd_request r = override();

	(void)state;
	assert_null(check(&r));
	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		r = override();
		breaks[i](&r);
		if (!check(&r))
			fail_msg("broken in way %zu, and taken", i);
	}
}

static void test_what_each_wants(void **state)
{
	struct privd_request r = good(PRIVD_PING);

	(void)state;
	assert_null(check(&r));
	r = override();
	memset(r.name, 0, sizeof(r.name));
	assert_null(check(&r)); /* clearing an override needs no name */
	r.header.op = PRIVD_BIND;
	assert_non_null(check(&r)); /* binding does */
	r = good(PRIVD_READ_HOLDERS);
	assert_non_null(check(&r)); /* of nobody */
	r.n_addresses = PRIVD_ADDRESSES;
	for (size_t i = 0; i < PRIVD_ADDRESSES; i++)
		r.addresses[i].set = 1;
	assert_null(check(&r));
	r.addresses[63].device = 32;
	assert_non_null(check(&r));
	r = good(PRIVD_READ_CRITICAL);
	assert_null(check(&r));
	r.n_classes = PRIVD_CLASSES;
	assert_null(check(&r));
	r.n_addresses = 1;
	assert_non_null(check(&r)); /* of an address that is not set */
	r.addresses[0].set = 1;
	assert_null(check(&r));
	r = good(PRIVD_MDEV_CREATE);
	r.address.set = 1;
	memcpy(r.name, "i915-GVTg_V5_4", 14);
	assert_non_null(check(&r)); /* no UUID */
	r.uuid[0] = 1;
	assert_null(check(&r));
	r = good(PRIVD_HUGEPAGES);
	r.node = -1;
	r.size_kib = 2048;
	r.value = 7;
	assert_null(check(&r));
}

static void test_reset_words(void **state)
{
	const char *const words[] = { "pm", "bus" }, *const odd[] = { "kick" };
	const char *const all[] = { "device_specific", "acpi", "flr", "af_flr", "pm", "bus",
				    "cxl_bus" };
	char text[64];

	(void)state;
	assert_true(privd_reset_unpack(privd_reset_pack(NULL, 0), text, sizeof(text)));
	assert_string_equal(text, "default");
	assert_true(privd_reset_unpack(privd_reset_pack(words, 2), text, sizeof(text)));
	assert_string_equal(text, "pm bus");
	assert_true(privd_reset_unpack(privd_reset_pack(all, 7), text, sizeof(text)));
	assert_string_equal(text, "device_specific acpi flr af_flr pm bus cxl_bus");
	assert_false(privd_reset_unpack(privd_reset_pack(odd, 1), text, sizeof(text)));
	assert_false(privd_reset_unpack(privd_reset_pack(all, 8), text, sizeof(text)));
	assert_false(privd_reset_unpack(0x8, text, sizeof(text)));
	assert_false(privd_reset_unpack(0x501, text, sizeof(text)));
	assert_false(privd_reset_unpack(privd_reset_pack(all, 7), text, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),		cmocka_unit_test(test_names),
		cmocka_unit_test(test_what_changes),	cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_what_each_wants), cmocka_unit_test(test_reset_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
