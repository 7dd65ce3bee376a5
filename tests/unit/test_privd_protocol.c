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

/* ---- chains ---- */

static struct privd_chain chain_of(size_t n)
{
	struct privd_chain chain = { .header = { PRIVD_MAGIC, PRIVD_VERSION, PRIVD_CHAIN, 7,
						 (uint32_t)privd_chain_size(n), 0 },
				     .n = (uint32_t)n };

	for (size_t i = 0; i < n && i < PRIVD_CHAIN_MAX; i++) {
		chain.request[i] = override();
		chain.request[i].header.id = 100 + i;
	}
	return chain;
}

static const char *check_chain(const struct privd_chain *chain)
{
	static struct privd_chain out;
	size_t size = chain->header.size;
	const char *wrong;

	memset(&out, 0xaa, sizeof(out));
	wrong = privd_message_check(chain, size, &out);
	if (!wrong)
		assert_memory_equal(&out, chain, size);
	return wrong;
}

static void test_chains(void **state)
{
	struct privd_chain chain;

	(void)state;
	for (size_t n = 1; n <= PRIVD_CHAIN_MAX; n++) {
		chain = chain_of(n);
		assert_null(check_chain(&chain));
	}
}

static void test_chain_sizes(void **state)
{
	static unsigned char bytes[sizeof(struct privd_chain) + sizeof(struct privd_request)];
	struct privd_chain chain = chain_of(3), out;
	size_t fits = privd_chain_size(3);

	(void)state;
	assert_int_equal(privd_chain_size(PRIVD_CHAIN_MAX), sizeof(chain));
	assert_int_equal(privd_chain_reply_size(PRIVD_CHAIN_MAX), sizeof(struct privd_chain_reply));
	memcpy(bytes, &chain, sizeof(chain));
	for (size_t n = 0; n <= sizeof(bytes); n += n + 8 < fits || n > fits + 8 ? 8 : 1) {
		if (n == fits)
			assert_null(privd_message_check(bytes, n, &out));
		else
			assert_non_null(privd_message_check(bytes, n, &out));
		/* and where the header says that size */
		chain.header.size = (uint32_t)n;
		memcpy(bytes, &chain.header, sizeof(chain.header));
		if (n != fits)
			assert_non_null(privd_message_check(bytes, n, &out));
		if (n != fits)	/* nor where only the header does */
			assert_non_null(privd_message_check(bytes, fits, &out));
		chain.header.size = (uint32_t)fits;
		memcpy(bytes, &chain.header, sizeof(chain.header));
	}
}

/* As many as the message has room for, and it says another number. */
static void test_chain_numbers(void **state)
{
	static struct {
		struct privd_chain chain;
		struct privd_request one_more;
	} big;
	struct privd_chain out;
	const uint32_t wrong[] = { 0, 1, 3, PRIVD_CHAIN_MAX + 1, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		big.chain = chain_of(2);
		big.chain.n = wrong[i];
		assert_non_null(privd_message_check(&big, privd_chain_size(2), &out));
	}
	big.chain = chain_of(0);
	assert_non_null(privd_message_check(&big, privd_chain_size(0), &out));
	big.chain = chain_of(PRIVD_CHAIN_MAX + 1);
	big.one_more = override();
	assert_non_null(privd_message_check(&big, privd_chain_size(PRIVD_CHAIN_MAX + 1), &out));
}

/* Each breaks a good chain of three in one place. */
static void chain_magic(struct privd_chain *c)
{
	c->header.magic++;
}
static void chain_version(struct privd_chain *c)
{
	c->header.version--;
}
static void chain_header_tail(struct privd_chain *c)
{
	c->header.zero = 1;
}
static void chain_tail(struct privd_chain *c)
{
	c->zero = 1;
}
static void chain_no_id(struct privd_chain *c)
{
	c->header.id = 0;
}
static void chain_bad_request(struct privd_chain *c)
{
	a_slash(&c->request[1]);
}
static void chain_bad_last(struct privd_chain *c)
{
	function_8(&c->request[2]);
}
static void chain_request_magic(struct privd_chain *c)
{
	c->request[1].header.magic++;
}
static void chain_request_size(struct privd_chain *c)
{
	c->request[1].header.size++;
}
static void chain_request_no_id(struct privd_chain *c)
{
	c->request[2].header.id = 0;
}
static void chain_in_chain(struct privd_chain *c)
{
	c->request[1].header.op = PRIVD_CHAIN;
}
static void chain_equal_ids(struct privd_chain *c)
{
	c->request[2].header.id = c->request[0].header.id;
}

static void test_malformed_chains(void **state)
{
	static void (*const breaks[])(struct privd_chain *) = {
		chain_magic,	   chain_version,    chain_header_tail,	  chain_tail,
		chain_no_id,	   chain_bad_request, chain_bad_last,	  chain_request_magic,
		chain_request_size, chain_request_no_id, chain_in_chain,  chain_equal_ids,
	};
	struct privd_chain chain;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		chain = chain_of(3);
		breaks[i](&chain);
		if (!check_chain(&chain))
			fail_msg("broken in way %zu, and taken", i);
	}
}

/* What is answered without a child, and what its child must not outlive, goes alone. */
static void test_what_stands_in_no_chain(void **state)
{
	struct privd_chain chain = chain_of(3);

	(void)state;
	chain.request[1] = good(PRIVD_PING);
	assert_non_null(check_chain(&chain));
	chain.request[1] = good(PRIVD_LIVE);
	assert_non_null(check_chain(&chain));
	chain.request[1] = good(PRIVD_MODULE);
	memcpy(chain.request[1].name, "vfio-pci", 8);
	assert_null(check(&chain.request[1]));
	assert_non_null(check_chain(&chain));
	chain.request[1] = good(PRIVD_READ_IOMEM);
	assert_null(check_chain(&chain));
	for (unsigned op = 0; op < PRIVD_OPS; op++)
		assert_int_equal(privd_op_chains(op), op != PRIVD_NONE && op != PRIVD_PING &&
							      op != PRIVD_LIVE && op != PRIVD_LATE &&
							      op != PRIVD_CHAIN && op != PRIVD_MODULE);
	assert_false(privd_op_chains(PRIVD_OPS));
}

static void test_a_chain_ends_where_a_change_failed(void **state)
{
	(void)state;
	for (unsigned op = 0; op < PRIVD_OPS; op++)
		assert_int_equal(privd_op_ends(op), privd_op_writes(op) || op == PRIVD_VIABLE);
	assert_false(privd_op_ends(PRIVD_OPS));
}

/* A request alone comes out as a chain of one under its own header. */
static void test_alone(void **state)
{
	struct privd_request r = override();
	struct privd_chain out;

	(void)state;
	memset(&out, 0xaa, sizeof(out));
	assert_null(privd_message_check(&r, sizeof(r), &out));
	assert_memory_equal(&out.header, &r.header, sizeof(r.header));
	assert_int_equal(out.n, 1);
	assert_int_equal(out.zero, 0);
	assert_memory_equal(&out.request[0], &r, sizeof(r));
	r = good(PRIVD_PING);
	assert_null(privd_message_check(&r, sizeof(r), &out));
	assert_int_equal(out.header.op, PRIVD_PING);
	assert_non_null(privd_message_check(&r, sizeof(r) - 1, &out));
	assert_non_null(privd_message_check(&r, 0, &out));
	a_slash(&r);
	assert_non_null(privd_message_check(&r, sizeof(r), &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),		cmocka_unit_test(test_names),
		cmocka_unit_test(test_what_changes),	cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_what_each_wants), cmocka_unit_test(test_reset_words),
		cmocka_unit_test(test_chains),		cmocka_unit_test(test_chain_sizes),
		cmocka_unit_test(test_chain_numbers),	cmocka_unit_test(test_malformed_chains),
		cmocka_unit_test(test_what_stands_in_no_chain),
		cmocka_unit_test(test_a_chain_ends_where_a_change_failed),
		cmocka_unit_test(test_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
