/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory pools and their volumes. run_* are in calls' threads. libvirt keeps a list of a pool's
 * volumes and looks at the directory again only when it is told to: whatever is not in the list, or
 * is in it and cannot be read, is looked for again after a refresh.
 */
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "vm/libvirt_parts.h"

#define XML(text) ((const xmlChar *)(text))
#define POOL_MODE "0711" /* QEMU's user must get through it, and nobody else need list it */

enum { REFRESH_TRIES = 50, REFRESH_PAUSE_NS = 200000000 };

/* ---- XML ---- */

static xmlNodePtr add(xmlNodePtr parent, const char *name, const char *text)
{
	xmlNodePtr node = xmlNewTextChild(parent, NULL, XML(name), XML(text));

	if (!node)
		abort();
	return node;
}

static xmlDocPtr new_document(const char *root)
{
	xmlDocPtr doc = xmlNewDoc(XML("1.0"));
	xmlNodePtr node = doc ? xmlNewNode(NULL, XML(root)) : NULL;

	if (!node)
		abort();
	xmlDocSetRootElement(doc, node);
	return doc;
}

/* Frees the document. */
static const char *print(xmlDocPtr doc, struct arena *arena)
{
	xmlChar *text = NULL;
	const char *ret;
	int n = 0;

	xmlDocDumpMemoryEnc(doc, &text, &n, "UTF-8");
	if (!text)
		abort();
	ret = arena_strdup(arena, (const char *)text);
	xmlFree(text);
	xmlFreeDoc(doc);
	return ret;
}

static xmlNodePtr child(xmlNodePtr parent, const char *name)
{
	for (xmlNodePtr n = parent ? parent->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name))
			return n;
	return NULL;
}

/* The text of <target><NAME>, or its attribute. NULL: there is none. */
static const char *target_text(const char *xml, const char *name, const char *attribute,
			       struct arena *arena)
{
	xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
				      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	xmlNodePtr node = child(child(doc ? xmlDocGetRootElement(doc) : NULL, "target"), name);
	xmlChar *text = NULL;
	const char *ret;

	if (node)
		text = attribute ? xmlGetNoNsProp(node, XML(attribute)) : xmlNodeGetContent(node);
	ret = arena_strdup(arena, (const char *)text);
	xmlFree(text);
	xmlFreeDoc(doc);
	return ret;
}

static const char *pool_xml(const char *name, const char *path, struct arena *arena)
{
	xmlDocPtr doc = new_document("pool");
	xmlNodePtr pool = xmlDocGetRootElement(doc), target;

	xmlNewProp(pool, XML("type"), XML("dir"));
	add(pool, "name", name);
	target = add(pool, "target", NULL);
	add(target, "path", path);
	add(add(target, "permissions", NULL), "mode", POOL_MODE);
	return print(doc, arena);
}

/* Sparse: nothing is allocated before the guest writes. */
static const char *volume_xml(const struct call *call)
{
	xmlDocPtr doc = new_document("volume");
	xmlNodePtr volume = xmlDocGetRootElement(doc), target;

	add(volume, "name", call->name);
	xmlNewProp(add(volume, "capacity",
		       arena_printf(call->arena, "%llu", (unsigned long long)call->bytes)),
		   XML("unit"), XML("bytes"));
	add(volume, "allocation", "0");
	target = add(volume, "target", NULL);
	xmlNewProp(add(target, "format", NULL), XML("type"), XML(call->format));
	add(add(target, "permissions", NULL), "mode", "0600");
	return print(doc, call->arena);
}

/* ---- pools ---- */

/* 1, 0 there is none, -1. */
static int find_pool(struct call *call, virConnectPtr conn, virStoragePoolPtr *ret)
{
	*ret = virStoragePoolLookupByName(conn, call->pool);
	if (*ret)
		return 1;
	return virt_error_is(VIR_ERR_NO_STORAGE_POOL) ? 0 : virt_failed(&call->err, call->what);
}

static const char *pool_path(struct call *call, virStoragePoolPtr pool)
{
	CLEAN_FREE char *xml = virStoragePoolGetXMLDesc(pool, 0);

	return xml ? target_text(xml, "path", NULL, call->arena) : NULL;
}

static int run_pool_state(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	int r = find_pool(call, conn, &pool);

	if (r <= 0)
		return r;
	call->defined = true;
	r = virStoragePoolIsActive(pool);
	call->active = r == 1;
	call->answer = pool_path(call, pool);
	return r < 0 || !call->answer ? virt_failed(&call->err, call->what) : 0;
}

static int other_path(struct call *call, const char *path)
{
	error_set(&call->err, ERROR_CONFLICT, "the pool %s is in %s, and not in %s", call->pool,
		  path ?: "no directory", call->text);
	return error_hint(&call->err, "undefine it (virsh pool-undefine %s), or configure its path",
			  call->pool);
}

/* Define, make the directory, start, start at boot: each only where it is not so. */
static int run_pool_make(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	int r = find_pool(call, conn, &pool);
	const char *path;

	if (r < 0)
		return r;
	if (!r)
		pool = virStoragePoolDefineXML(conn, pool_xml(call->pool, call->text, call->arena),
					       0);
	if (!pool)
		return virt_failed(&call->err, call->what);
	path = pool_path(call, pool);
	if (!path || strcmp(path, call->text))
		return other_path(call, path);
	if (virStoragePoolIsActive(pool) != 1 &&
	    (virStoragePoolBuild(pool, 0) < 0 || virStoragePoolCreate(pool, 0) < 0))
		return virt_failed(&call->err, call->what);
	return virStoragePoolSetAutostart(pool, 1) < 0 ? virt_failed(&call->err, call->what) : 0;
}

static int run_pool_unmake(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	int r = find_pool(call, conn, &pool);

	if (r <= 0)
		return r;
	if (virStoragePoolIsActive(pool) == 1 && virStoragePoolDestroy(pool) < 0)
		return virt_failed(&call->err, call->what);
	return virStoragePoolUndefine(pool) < 0 ? virt_failed(&call->err, call->what) : 0;
}

/* While another volume of the pool is being written, libvirt refuses: it is over soon. */
static int refresh(struct call *call, virStoragePoolPtr pool)
{
	const struct timespec moment = { .tv_nsec = REFRESH_PAUSE_NS };

	for (int i = 0; virStoragePoolRefresh(pool, 0) < 0; i++) {
		virErrorPtr last = virGetLastError();
		bool busy = last && last->message && strstr(last->message, "asynchronous jobs");

		if (!busy || i == REFRESH_TRIES)
			return virt_failed(&call->err, call->what);
		nanosleep(&moment, NULL);
	}
	return 0;
}

/* The pool, or not_found. */
static int need_pool(struct call *call, virConnectPtr conn, virStoragePoolPtr *ret)
{
	*ret = virStoragePoolLookupByName(conn, call->pool);
	return *ret ? 0 : virt_failed(&call->err, call->what);
}

/*
 * libvirt counts blocks that are kept for root, and QEMU is not root: the file system says how many
 * there are for everybody.
 */
static int run_pool_space(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	virStoragePoolInfo info;
	struct statvfs fs;
	const char *path;

	if (need_pool(call, conn, &pool) < 0 || refresh(call, pool) < 0)
		return -1;
	if (virStoragePoolGetInfo(pool, &info) < 0)
		return virt_failed(&call->err, call->what);
	call->answer_bytes = info.available;
	path = pool_path(call, pool);
	if (path && !statvfs(path, &fs))
		call->answer_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

/* ---- volumes ---- */

/* 1 it is in libvirt's list, and there; 0; -1. */
static int listed(struct call *call, virStoragePoolPtr pool, virStorageVolPtr *ret)
{
	CLEANUP(cleanup_volume)
	virStorageVolPtr volume = virStorageVolLookupByName(pool, call->name);
	virStorageVolInfo info;

	if (!volume && !virt_error_is(VIR_ERR_NO_STORAGE_VOL))
		return virt_failed(&call->err, call->what);
	if (!volume || virStorageVolGetInfo(volume, &info) < 0)
		return 0;
	call->answer_bytes = info.capacity;
	*ret = TAKE_PTR(volume);
	return 1;
}

static int find_volume(struct call *call, virStoragePoolPtr pool, virStorageVolPtr *ret)
{
	int r = listed(call, pool, ret);

	if (r)
		return r;
	return refresh(call, pool) < 0 ? -1 : listed(call, pool, ret);
}

/* As a disk of QEMU's: it reads an ISO, and whatever libvirt does not know, as it stands. */
static const char *disk_format(const char *format)
{
	return !format || !strcmp(format, "iso") || !strcmp(format, "unknown") ? "raw" : format;
}

static int run_volume(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	CLEANUP(cleanup_volume) virStorageVolPtr volume = NULL;
	CLEAN_FREE char *xml = NULL, *path = NULL;
	int r;

	if (need_pool(call, conn, &pool) < 0)
		return -1;
	r = find_volume(call, pool, &volume);
	if (r <= 0)
		return r;
	xml = virStorageVolGetXMLDesc(volume, 0);
	path = virStorageVolGetPath(volume);
	if (!xml || !path)
		return virt_failed(&call->err, call->what);
	call->found = true;
	call->answer = arena_strdup(call->arena, path);
	call->answer_format = disk_format(target_text(xml, "format", "type", call->arena));
	return 0;
}

static int run_volume_make(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	CLEANUP(cleanup_volume) virStorageVolPtr volume = NULL;

	/* After a refresh, so that a file which libvirt has not seen yet is found to be in the way.
	 */
	if (need_pool(call, conn, &pool) < 0 || refresh(call, pool) < 0)
		return -1;
	volume = virStorageVolCreateXML(pool, volume_xml(call), 0);
	return volume ? 0 : virt_failed(&call->err, call->what);
}

static int run_volume_delete(struct call *call, virConnectPtr conn)
{
	CLEANUP(cleanup_pool) virStoragePoolPtr pool = NULL;
	CLEANUP(cleanup_volume) virStorageVolPtr volume = NULL;
	int r;

	if (need_pool(call, conn, &pool) < 0)
		return -1;
	r = find_volume(call, pool, &volume);
	if (r <= 0)
		return r;
	return virStorageVolDelete(volume, 0) < 0 ? virt_failed(&call->err, call->what) : 0;
}

/* ---- */

static struct call *of_pool(enum call_limit limit, const char *what,
			    int (*run)(struct call *call, virConnectPtr conn), const char *pool,
			    const char *name)
{
	struct call *call = call_new(limit, what, run);

	call->pool = arena_strdup(call->arena, pool);
	call->name = arena_strdup(call->arena, name);
	return call;
}

int virt_pool_state(struct virt *virt, const char *pool, bool *defined, bool *active,
		    struct arena *arena, const char **path, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_ASK, "asking for the storage pool",
					       run_pool_state, pool, NULL);

	if (virt_do(virt, call, err) < 0)
		return -1;
	if (defined)
		*defined = call->defined;
	if (active)
		*active = call->active;
	if (path)
		*path = arena_strdup(arena, call->answer);
	return 0;
}

int virt_pool_make(struct virt *virt, const char *pool, const char *path, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_CHANGE, "making the storage pool",
					       run_pool_make, pool, NULL);

	call->text = arena_strdup(call->arena, path);
	return virt_do(virt, call, err);
}

int virt_pool_unmake(struct virt *virt, const char *pool, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_CHANGE, "removing the storage pool",
					       run_pool_unmake, pool, NULL);

	return virt_do(virt, call, err);
}

int virt_pool_space(struct virt *virt, const char *pool, uint64_t *bytes, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_CHANGE, "asking for the pool's space",
					       run_pool_space, pool, NULL);

	if (virt_do(virt, call, err) < 0)
		return -1;
	*bytes = call->answer_bytes;
	return 0;
}

int virt_volume(struct virt *virt, const char *pool, const char *name, struct arena *arena,
		const char **path, const char **format, uint64_t *bytes, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_CHANGE, "looking for the volume", run_volume,
					       pool, name);

	if (virt_do(virt, call, err) < 0)
		return -1;
	if (call->found && path)
		*path = arena_strdup(arena, call->answer);
	if (call->found && format)
		*format = arena_strdup(arena, call->answer_format);
	if (call->found && bytes)
		*bytes = call->answer_bytes;
	return call->found;
}

int virt_volume_make(struct virt *virt, const char *pool, const char *name, uint64_t bytes,
		     const char *format, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_CHANGE, "making the volume", run_volume_make,
					       pool, name);

	call->bytes = bytes;
	call->format = arena_strdup(call->arena, format);
	return virt_do(virt, call, err);
}

int virt_volume_delete(struct virt *virt, const char *pool, const char *name, struct error *err)
{
	CLEAN_CALL struct call *call = of_pool(CALL_CHANGE, "removing the volume",
					       run_volume_delete, pool, name);

	return virt_do(virt, call, err);
}
