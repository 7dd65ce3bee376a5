/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the domain: each part of it is one function that adds its elements. See domain_xml.h;
 * reading is in domain_xml_read.c. Lack of memory ends the process, as everywhere (base/arena.h).
 */
#include "vm/domain_xml.h"

#include <libxml/tree.h>
#include <libxml/xmlsave.h>
#include <string.h>

#include "vm/domain_mark.h"

#define XML(text) ((const xmlChar *)(text))

enum {
	SPARE_PORTS = 2, /* for hot-plug */
	SLOT_FUNCTIONS = 8,
	ATTRIBUTE_BYTES = 4200, /* a path */
};

struct builder {
	const struct vm_record *vm;
	const struct domain_facts *facts;
	struct arena *arena;
	struct list *warnings;
};

static xmlNodePtr add(xmlNodePtr parent, const char *name)
{
	xmlNodePtr node = xmlNewChild(parent, NULL, XML(name), NULL);

	if (!node)
		abort();
	return node;
}

static void set(xmlNodePtr node, const char *name, const char *fmt, ...) PRINTF(3, 4);
static void set(xmlNodePtr node, const char *name, const char *fmt, ...)
{
	char value[ATTRIBUTE_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	if (!xmlNewProp(node, XML(name), XML(value)))
		abort();
}

static xmlNodePtr add_text(xmlNodePtr parent, const char *name, const char *text)
{
	xmlNodePtr node = xmlNewTextChild(parent, NULL, XML(name), XML(text));

	if (!node)
		abort();
	return node;
}

static void add_state(xmlNodePtr parent, const char *name, bool on)
{
	set(add(parent, name), "state", on ? "on" : "off");
}

static bool has_cards(const struct builder *b)
{
	return b->facts->cards.n > 0;
}

static bool has_primary(const struct builder *b)
{
	for (LIST_EACH(const struct domain_card, card, &b->facts->cards))
		if (card->primary)
			return true;
	return false;
}

static bool hides(const struct builder *b)
{
	if (b->vm->spec.hide_hypervisor != HIDE_AUTO)
		return b->vm->spec.hide_hypervisor == HIDE_ON;
	for (LIST_EACH(const struct domain_card, card, &b->facts->cards))
		if (card->hide)
			return true;
	return false;
}

static void add_identity(const struct builder *b, xmlNodePtr domain)
{
	const struct wire_vm_spec *spec = &b->vm->spec;
	xmlNodePtr mark;
	xmlNsPtr ns;
	char number[32];

	add_text(domain, "name", spec->id);
	add_text(domain, "uuid", b->vm->uuid);
	if (strcmp(spec->name, spec->id))
		add_text(domain, "title", spec->name);
	mark = add(add(domain, "metadata"), MARK_ELEMENT);
	ns = xmlNewNs(mark, XML(MARK_NAMESPACE), XML("horcrux"));
	xmlSetNs(mark, ns);
	set(mark, MARK_ID, "%s", spec->id);
	snprintf(number, sizeof(number), "%lld", (long long)spec->memory);
	set(add_text(domain, "memory", number), "unit", "MiB");
	snprintf(number, sizeof(number), "%lld", (long long)spec->cpus);
	add_text(domain, "vcpu", number);
}

static void add_os(const struct builder *b, xmlNodePtr domain)
{
	const struct wire_vm_spec *spec = &b->vm->spec;
	xmlNodePtr os = add(domain, "os"), type, firmware, feature;

	type = add_text(os, "type", "hvm");
	set(type, "arch", "x86_64");
	set(type, "machine", "q35");
	if (spec->firmware ==
	    FIRMWARE_UEFI) { /* unnamed, Secure Boot with Microsoft's keys is picked */
		set(os, "firmware", "efi");
		firmware = add(os, "firmware");
		feature = add(firmware, "feature");
		set(feature, "enabled", "no");
		set(feature, "name", "enrolled-keys");
		feature = add(firmware, "feature");
		set(feature, "enabled", "no");
		set(feature, "name", "secure-boot");
		add_text(os, "nvram", b->facts->nvram_path);
	}
	if (b->facts->kernel_path)
		add_text(os, "kernel", b->facts->kernel_path);
	if (b->facts->initrd_path)
		add_text(os, "initrd", b->facts->initrd_path);
	if (b->facts->kernel_path && spec->boot->cmdline)
		add_text(os, "cmdline", spec->boot->cmdline);
	if (b->facts->kernel_path)
		return;
	set(add(os, "boot"), "dev", "hd");
	set(add(os, "boot"), "dev", "cdrom");
}

static void add_hyperv(const struct builder *b, xmlNodePtr features)
{
	static const char *const enlightenments[] = { "relaxed", "vapic",  "vpindex",	 "runtime",
						      "synic",	 "stimer", "frequencies" };
	bool windows = b->vm->spec.os == OS_WINDOWS;
	xmlNodePtr hyperv, node;

	if (!windows && !hides(b))
		return;
	hyperv = add(features, "hyperv");
	set(hyperv, "mode", "custom");
	for (size_t i = 0; windows && i < ARRAY_SIZE(enlightenments); i++)
		add_state(hyperv, enlightenments[i], true);
	if (windows) {
		node = add(hyperv, "spinlocks");
		set(node, "state", "on");
		set(node, "retries", "8191");
	}
	if (!hides(b))
		return;
	node = add(hyperv, "vendor_id"); /* at most 12 characters */
	set(node, "state", "on");
	set(node, "value", "horcrux");
}

static void add_features(const struct builder *b, xmlNodePtr domain)
{
	xmlNodePtr features = add(domain, "features");

	add(features, "acpi");
	add(features, "apic");
	if (!b->facts->kvm)
		return; /* both are KVM's */
	add_hyperv(b, features);
	if (hides(b))
		add_state(add(features, "kvm"), "hidden", true);
}

static void add_cpu(const struct builder *b, xmlNodePtr domain)
{
	xmlNodePtr cpu = add(domain, "cpu"), node;

	if (b->facts->kvm) {
		set(cpu, "mode", "host-passthrough");
		set(cpu, "check", "none");
	} else {
		set(cpu, "mode", "maximum");
	}
	node = add(cpu, "topology");
	set(node, "sockets", "1");
	set(node, "cores", "%lld", (long long)b->vm->spec.cpus);
	set(node, "threads", "1");
	if (b->facts->kvm &&
	    has_cards(b)) { /* OVMF sizes the 64-bit window by it: large BARs fit */
		node = add(cpu, "maxphysaddr");
		set(node, "mode", "passthrough");
	}
}

static void add_timer(xmlNodePtr clock, const char *name, const char *attribute, const char *value)
{
	xmlNodePtr timer = add(clock, "timer");

	set(timer, "name", "%s", name);
	set(timer, attribute, "%s", value);
}

static void add_clock(const struct builder *b, xmlNodePtr domain)
{
	bool windows = b->vm->spec.os == OS_WINDOWS;
	xmlNodePtr clock = add(domain, "clock");

	set(clock, "offset", windows ? "localtime" : "utc");
	add_timer(clock, "rtc", "tickpolicy", "catchup");
	add_timer(clock, "pit", "tickpolicy", "delay");
	add_timer(clock, "hpet", "present", "no");
	if (windows && b->facts->kvm)
		add_timer(clock, "hypervclock", "present", "yes");
}

static void add_ends(xmlNodePtr domain)
{
	add_text(domain, "on_poweroff", "destroy");
	add_text(domain, "on_reboot", "restart");
	add_text(domain, "on_crash", "destroy");
}

static size_t network_cards(const struct builder *b)
{
	size_t n = 0;

	for (LIST_EACH(const struct wire_network, network, &b->vm->spec.network))
		n += network->kind != NETWORK_NONE;
	return n;
}

/*
 * Ports for the cards first, so that their numbers are known: a card's guest address is explicit,
 * or libvirt would put conventional PCI functions behind a PCI bridge. Then one for each device
 * that libvirt places (USB, random numbers, the balloon), and the spare ones.
 */
static void add_ports(const struct builder *b, xmlNodePtr devices)
{
	size_t others = b->facts->disks.n + network_cards(b) + 2 + !has_cards(b);
	size_t n = b->facts->cards.n + others + SPARE_PORTS;
	xmlNodePtr node;

	node = add(devices, "controller");
	set(node, "type", "pci");
	set(node, "index", "0");
	set(node, "model", "pcie-root");
	for (size_t i = 1; i <= n; i++) {
		node = add(devices, "controller");
		set(node, "type", "pci");
		set(node, "index", "%zu", i);
		set(node, "model", "pcie-root-port");
	}
	node = add(devices, "controller");
	set(node, "type", "usb");
	set(node, "model", "qemu-xhci");
}

static xmlNodePtr add_disk(xmlNodePtr devices, const char *device, const char *format,
			   const char *path, const char *target, const char *bus)
{
	xmlNodePtr disk = add(devices, "disk"), node;

	set(disk, "type", "file");
	set(disk, "device", "%s", device);
	node = add(disk, "driver");
	set(node, "name", "qemu");
	set(node, "type", "%s", format);
	set(add(disk, "source"), "file", "%s", path);
	node = add(disk, "target");
	set(node, "dev", "%s", target);
	set(node, "bus", "%s", bus);
	return disk;
}

static void add_disks(const struct builder *b, xmlNodePtr devices)
{
	char target[8];
	size_t i = 0;

	for (LIST_EACH(const struct domain_disk, disk, &b->facts->disks)) {
		snprintf(target, sizeof(target), "vd%c", (char)('a' + i++));
		add_disk(devices, "disk", disk->format, disk->path, target, "virtio");
	}
	i = 0;
	for (LIST_EACH(const char *, path, &b->facts->cdrom_paths)) {
		snprintf(target, sizeof(target), "sd%c", (char)('a' + i++));
		add(add_disk(devices, "cdrom", "raw", *path, target, "sata"), "readonly");
	}
}

static void add_nics(const struct builder *b, xmlNodePtr devices)
{
	xmlNodePtr nic;

	for (LIST_EACH(const struct wire_network, network, &b->vm->spec.network)) {
		if (network->kind == NETWORK_NONE)
			continue;
		nic = add(devices, "interface");
		set(nic, "type", "network");
		set(add(nic, "mac"), "address", "%s", network->mac);
		set(add(nic, "source"), "network", "%s", b->facts->network);
		set(add(nic, "model"), "type", "virtio");
	}
}

static void add_address(xmlNodePtr parent, struct pci_address a)
{
	xmlNodePtr node = add(parent, "address");

	set(node, "domain", "0x%04x", (unsigned)a.domain);
	set(node, "bus", "0x%02x", a.bus);
	set(node, "slot", "0x%02x", a.device);
	set(node, "function", "0x%x", a.function);
}

/*
 * managed='no': Horcrux binds and gives back, and libvirt must not. All functions of a card sit on
 * one guest slot, behind a root port of their own; the guest's function 0 is the card's first.
 */
static void add_card(xmlNodePtr devices, const struct domain_card *card, size_t port)
{
	const struct pci_address *functions = card->functions.items;
	xmlNodePtr hostdev, node;

	for (size_t i = 0; i < card->functions.n; i++) {
		hostdev = add(devices, "hostdev");
		set(hostdev, "mode", "subsystem");
		set(hostdev, "type", "pci");
		set(hostdev, "managed", "no");
		set(add(hostdev, "driver"), "name", "vfio");
		add_address(add(hostdev, "source"), functions[i]);
		if (!i && card->rom_path)
			set(add(hostdev, "rom"), "file", "%s", card->rom_path);
		node = add(hostdev, "address");
		set(node, "type", "pci");
		set(node, "domain", "0x0000");
		set(node, "bus", "0x%02zx", port);
		set(node, "slot", "0x00");
		set(node, "function", "0x%zx", i);
		if (!i && card->functions.n > 1)
			set(node, "multifunction", "on");
	}
}

/* The primary display sits on the first port, where firmware looks first; else the spec's order. */
static void add_cards(const struct builder *b, xmlNodePtr devices)
{
	size_t port = 1;

	for (LIST_EACH(const struct domain_card, card, &b->facts->cards))
		if (card->primary)
			add_card(devices, card, port++);
	for (LIST_EACH(const struct domain_card, card, &b->facts->cards))
		if (!card->primary)
			add_card(devices, card, port++);
}

static void add_console(const struct builder *b, xmlNodePtr devices)
{
	xmlNodePtr node, serial = add(devices, "serial");

	set(serial, "type", "pty");
	node = add(serial, "log");
	set(node, "file", "/var/log/libvirt/qemu/%s-serial.log", b->vm->spec.id);
	set(node, "append", "off");
	set(add(serial, "target"), "port", "0");
	if (has_primary(b)) {
		set(add(add(devices, "video"), "model"), "type", "none");
		return;
	}
	node = add(devices, "graphics");
	set(node, "type", "vnc");
	set(add(node, "listen"), "type", "socket");
	node = add(devices, "input"); /* a pointer that is where VNC's is */
	set(node, "type", "tablet");
	set(node, "bus", "usb");
	set(add(add(devices, "video"), "model"), "type", "vga");
}

static void add_devices(const struct builder *b, xmlNodePtr domain)
{
	xmlNodePtr devices = add(domain, "devices"), node;

	add_disks(b, devices);
	add_ports(b, devices);
	add_nics(b, devices);
	add_console(b, devices);
	add_cards(b, devices);
	/* A card's DMA pins all memory of the guest: there is nothing that a balloon could give
	 * back. */
	set(add(devices, "memballoon"), "model", has_cards(b) ? "none" : "virtio");
	node = add(devices, "rng");
	set(node, "model", "virtio");
	set(add_text(node, "backend", "/dev/urandom"), "model", "random");
}

void domain_warnings(bool kvm, bool primary, struct arena *arena, struct list *warnings)
{
	if (!kvm)
		list_add_string(
			arena, warnings,
			"this host has no KVM: the guest runs in emulation, many times slower");
	if (primary)
		list_add_string(arena, warnings,
				"its only display is the card, and no keyboard is passed to it: "
				"reach it over the network");
}

static int check_cards(const struct domain_facts *facts, struct error *err)
{
	for (LIST_EACH(const struct domain_card, card, &facts->cards)) {
		if (card->functions.n <= SLOT_FUNCTIONS)
			continue;
		error_set(err, ERROR_CONFLICT,
			  "a card has %zu functions, and a guest's slot holds %d",
			  card->functions.n, SLOT_FUNCTIONS);
		return error_hint(err, "pass one function of it, with multifunction false");
	}
	return 0;
}

/* As UTF-8, said explicitly: left to itself, libxml2's way with letters like é is its version's. */
static const char *print(xmlNodePtr domain, struct arena *arena, struct error *err)
{
	xmlBufferPtr out = xmlBufferCreate();
	xmlSaveCtxtPtr save = out ? xmlSaveToBuffer(out, "UTF-8",
						    XML_SAVE_FORMAT | XML_SAVE_NO_DECL)
				  : NULL;
	const char *text = NULL;

	if (!save || xmlSaveTree(save, domain) < 0 || xmlSaveClose(TAKE_PTR(save)) < 0)
		error_set(err, ERROR_INTERNAL, "a domain's XML cannot be written");
	else
		text = arena_printf(arena, "%s\n", (const char *)xmlBufferContent(out));
	if (save)
		xmlSaveClose(save);
	xmlBufferFree(out);
	return text;
}

const char *domain_xml(const struct vm_record *vm, const struct domain_facts *facts,
		       struct arena *arena, struct list *warnings, struct error *err)
{
	const struct builder b = { vm, facts, arena, warnings };
	xmlDocPtr doc;
	xmlNodePtr domain;
	const char *text;

	if (check_cards(facts, err) < 0)
		return NULL;
	doc = xmlNewDoc(XML("1.0"));
	domain = doc ? xmlNewNode(NULL, XML("domain")) : NULL;
	if (!domain)
		abort();
	xmlDocSetRootElement(doc, domain);
	set(domain, "type", facts->kvm ? "kvm" : "qemu");
	add_identity(&b, domain);
	add_os(&b, domain);
	add_features(&b, domain);
	add_cpu(&b, domain);
	add_clock(&b, domain);
	add_ends(domain);
	add_devices(&b, domain);
	text = print(domain, arena, err);
	if (text)
		domain_warnings(facts->kvm, has_primary(&b), arena, warnings);
	xmlFreeDoc(doc);
	return text;
}
