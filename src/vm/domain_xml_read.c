/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what libvirt says of a domain: whose it is, since when, which host functions it has. Any
 * domain's XML comes here, not only ours. See domain_xml.h.
 */
#include "vm/domain_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>

#include "vm/domain_mark.h"

#define XML(text) ((const xmlChar *)(text))

/* Without network, external entities or words on stderr. NULL: it is no XML. */
static xmlDocPtr parse(const char *xml)
{
	return xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
			     XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
}

static xmlNodePtr root_of(xmlDocPtr doc)
{
	return doc ? xmlDocGetRootElement(doc) : NULL;
}

static bool is_element(xmlNodePtr node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name);
}

static xmlNodePtr child(xmlNodePtr parent, const char *name)
{
	for (xmlNodePtr n = parent ? parent->children : NULL; n; n = n->next)
		if (is_element(n, name))
			return n;
	return NULL;
}

static const char *attribute(xmlNodePtr node, const char *name, struct arena *arena)
{
	xmlChar *text = xmlGetNoNsProp(node, XML(name));
	const char *ret = arena_strdup(arena, (const char *)text);

	xmlFree(text);
	return ret;
}

/* The element is found by its namespace: others put metadata of their own beside it. */
static xmlNodePtr find_mark(xmlDocPtr doc)
{
	xmlNodePtr metadata = child(root_of(doc), "metadata");

	for (xmlNodePtr n = metadata ? metadata->children : NULL; n; n = n->next)
		if (is_element(n, MARK_ELEMENT) && n->ns &&
		    !strcmp((const char *)n->ns->href, MARK_NAMESPACE))
			return n;
	return NULL;
}

struct domain_mark domain_xml_mark(const char *xml, struct arena *arena)
{
	xmlDocPtr doc = parse(xml);
	xmlNodePtr mark = find_mark(doc);
	struct domain_mark ret = { 0 };

	if (mark) {
		ret.vm = attribute(mark, MARK_ID, arena);
		ret.started_at = attribute(mark, MARK_STARTED, arena);
	}
	xmlFreeDoc(doc);
	return ret;
}

const char *domain_xml_started(const char *xml, const char *started_at, struct arena *arena)
{
	xmlDocPtr doc = parse(xml);
	xmlNodePtr mark = find_mark(doc);
	xmlChar *out = NULL;
	int n = 0;

	if (mark && xmlSetProp(mark, XML(MARK_STARTED), XML(started_at)))
		xmlDocDumpMemoryEnc(doc, &out, &n, "UTF-8");
	if (out)
		xml = arena_strdup(arena, (const char *)out);
	xmlFree(out);
	xmlFreeDoc(doc);
	return xml;
}

/* libvirt itself prints KiB, whatever it was told; without a unit it is that too. */
uint64_t domain_xml_memory_mib(const char *xml)
{
	xmlDocPtr doc = parse(xml);
	xmlNodePtr memory = child(root_of(doc), "memory");
	xmlChar *unit = memory ? xmlGetNoNsProp(memory, XML("unit")) : NULL;
	xmlChar *text = memory ? xmlNodeGetContent(memory) : NULL;
	uint64_t n = text ? strtoull((const char *)text, NULL, 10) : 0;

	if (!unit || !strcmp((const char *)unit, "KiB"))
		n /= 1024;
	else if (strcmp((const char *)unit, "MiB"))
		n = 0;
	xmlFree(unit);
	xmlFree(text);
	xmlFreeDoc(doc);
	return n;
}

static bool number(xmlNodePtr node, const char *name, unsigned long max, unsigned long *ret)
{
	xmlChar *text = xmlGetNoNsProp(node, XML(name));
	char *end = NULL;
	bool good;

	*ret = text ? strtoul((const char *)text, &end, 0) : 0;
	good = text && end != (const char *)text && !*end && *ret <= max;
	xmlFree(text);
	return good;
}

/* libvirt always prints all four, in hexadecimal after 0x. */
static bool read_address(xmlNodePtr node, struct pci_address *ret)
{
	unsigned long domain, bus, slot, function;

	if (!node || !number(node, "domain", UINT32_MAX, &domain) ||
	    !number(node, "bus", 255, &bus) || !number(node, "slot", 31, &slot) ||
	    !number(node, "function", 7, &function))
		return false;
	*ret = (struct pci_address){ (uint32_t)domain, (uint8_t)bus, (uint8_t)slot,
				     (uint8_t)function };
	return true;
}

static bool has_type(xmlNodePtr node, const char *type)
{
	xmlChar *text = xmlGetNoNsProp(node, XML("type"));
	bool yes = text && !strcmp((const char *)text, type);

	xmlFree(text);
	return yes;
}

/* A VF is passed as <hostdev type='pci'> or as <interface type='hostdev'>. */
static bool passes_pci(xmlNodePtr device)
{
	return (is_element(device, "hostdev") && has_type(device, "pci")) ||
	       (is_element(device, "interface") && has_type(device, "hostdev"));
}

/* Whatever the source's kind: an NVMe disk of QEMU's own driver names a function too. */
static xmlNodePtr source_address(xmlNodePtr device)
{
	xmlNodePtr source = child(device, "source");

	if (passes_pci(device) || (is_element(device, "disk") && has_type(device, "nvme")))
		return child(source, "address");
	return NULL;
}

int domain_xml_hostdevs(const char *xml, struct arena *arena, struct list *addresses)
{
	xmlDocPtr doc = parse(xml);
	xmlNodePtr devices = child(root_of(doc), "devices");
	struct pci_address address;

	for (xmlNodePtr n = devices ? devices->children : NULL; n; n = n->next)
		if (read_address(source_address(n), &address))
			*list_add(arena, addresses, struct pci_address) = address;
	xmlFreeDoc(doc);
	return (int)addresses->n;
}
