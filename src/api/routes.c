/* SPDX-License-Identifier: Apache-2.0 */
/* Every address of the API, sorted by path and method. From it requests are routed, their queries
 * and bodies checked, and openapi.json is printed. */
#include "api/api.h"
#include "api/handlers.h"
#include "wire/device.h"
#include "wire/health.h"
#include "wire/query.h"

#define QUERY(name)	   .query = wire_##name##_rows, .query_size = sizeof(struct wire_##name)
#define ANSWER(type, name) .schema = (type), .answer = wire_##name##_rows

const struct route api_routes[] = {
	/* keep sorted */
	{ "/api/gpu/devices", "GET", gpus_list, ROUTE_MANY, "listDevices",
	  "Every function of GPU class, by address", QUERY(device_query),
	  ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci", "GET", gpus_show, 0, "getDevice",
	  "One function of a card: its GPU, its audio, …", ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci/iommu-group", "GET", gpus_group, ROUTE_MANY, "getDeviceGroup",
	  "Every function in the IOMMU group of this one", ANSWER("Member", member) },
	{ "/api/gpu/devices/scan", "POST", gpus_scan, ROUTE_CHANGES | ROUTE_MANY, "scanDevices",
	  "Read all devices anew", ANSWER("Device", device) },
	{ "/api/gpu/iommu-status", "GET", gpus_iommu, 0, "getIommuStatus",
	  "Is the IOMMU on, and how is that known", ANSWER("IommuStatus", iommu) },
	{ "/api/health", "GET", health_show, 0, "getHealth", "Is the daemon ready to work",
	  ANSWER("Health", status) },
	{ "/api/openapi.json", "GET", openapi_show, 0, "getOpenapi", "This document" },
	{ "/api/version", "GET", version_show, 0, "getVersion", "Which daemon this is",
	  ANSWER("Version", version) },
};

const size_t api_routes_n = ARRAY_SIZE(api_routes);
