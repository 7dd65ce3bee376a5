/* SPDX-License-Identifier: Apache-2.0 */
/* Every address of the API, sorted by path and method. From it requests are routed, their queries
 * and bodies checked, and openapi.json is printed. */
#include "api/api.h"
#include "api/handlers.h"
#include "wire/change.h"
#include "wire/device.h"
#include "wire/doctor.h"
#include "wire/health.h"
#include "wire/query.h"
#include "wire/task.h"
#include "wire/vgpu.h"
#include "wire/vm.h"

#define QUERY(name)	   .query = wire_##name##_rows, .query_size = sizeof(struct wire_##name)
#define BODY(name)	   .body = wire_##name##_rows, .body_size = sizeof(struct wire_##name)
#define ANSWER(type, name) .schema = (type), .answer = wire_##name##_rows

const struct route api_routes[] = {
	/* keep sorted */
	{ "/api/doctor", "GET", gpus_doctor, 0, "getDoctor",
	  "Can this host give its cards to VMs; if not, why, and what to do", QUERY(doctor_query),
	  ANSWER("Doctor", doctor) },
	{ "/api/gpu/devices", "GET", gpus_list, ROUTE_MANY, "listDevices",
	  "Every function of GPU class, by address", QUERY(device_query),
	  ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci", "GET", gpus_show, 0, "getDevice",
	  "One function of a card: its GPU, its audio, …", ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci/bind-vfio", "POST", gpus_bind, ROUTE_CHANGES, "bindDevice",
	  "Take the card from its host drivers to vfio-pci", QUERY(change_query), BODY(bind),
	  ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci/iommu-group", "GET", gpus_group, ROUTE_MANY, "getDeviceGroup",
	  "Every function in the IOMMU group of this one", ANSWER("Member", member) },
	{ "/api/gpu/devices/:pci/release-quarantine", "POST", gpus_release_quarantine, ROUTE_CHANGES,
	  "releaseQuarantine", "Let a card that answers again be used", QUERY(change_query),
	  ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci/sriov", "PUT", gpus_sriov, ROUTE_CHANGES, "setDeviceVfs",
	  "Make so many VFs of the card, now and after each boot", QUERY(change_query),
	  BODY(sriov_change), ANSWER("Device", device) },
	{ "/api/gpu/devices/:pci/unbind-vfio", "POST", gpus_unbind, ROUTE_CHANGES, "unbindDevice",
	  "Give the card back to the drivers it came from", QUERY(change_query), BODY(accept),
	  ANSWER("Device", device) },
	{ "/api/gpu/devices/scan", "POST", gpus_scan, ROUTE_CHANGES | ROUTE_MANY | ROUTE_AT_ONCE,
	  "scanDevices", "Read all devices anew", QUERY(change_query), ANSWER("Device", device) },
	{ "/api/gpu/iommu-status", "GET", gpus_iommu, 0, "getIommuStatus",
	  "Is the IOMMU on, and how is that known", ANSWER("IommuStatus", iommu) },
	{ "/api/health", "GET", health_show, 0, "getHealth", "Is the daemon ready to work",
	  ANSWER("Health", status) },
	{ "/api/openapi.json", "GET", openapi_show, 0, "getOpenapi", "This document" },
	{ "/api/tasks", "GET", tasks_list, ROUTE_MANY, "listTasks",
	  "What is being done and was done, oldest first", QUERY(task_query),
	  ANSWER("Task", task) },
	{ "/api/tasks/:id", "GET", tasks_show, 0, "getTask", "How one task stands",
	  ANSWER("Task", task) },
	{ "/api/tasks/:id/cancel", "POST", tasks_cancel, ROUTE_CHANGES | ROUTE_AT_ONCE,
	  "cancelTask", "End it: what was done is undone", QUERY(change_query), ANSWER("Task", task) },
	{ "/api/version", "GET", version_show, 0, "getVersion", "Which daemon this is",
	  ANSWER("Version", version) },
	{ "/api/vgpu/devices", "GET", vgpus_list, ROUTE_MANY, "listSharedDevices",
	  "Every card that can be shared: what it can be cut into, and what it carries",
	  ANSWER("SharedDevice", shared) },
	{ "/api/vgpu/instances", "GET", vgpus_instances, ROUTE_MANY, "listInstances",
	  "Every instance there is, by card", ANSWER("Instance", instance) },
	{ "/api/vgpu/profiles", "GET", vgpus_profiles, ROUTE_MANY, "listProfiles",
	  "What the cards can be cut into, as their drivers say now", QUERY(profile_query),
	  ANSWER("Profile", profile) },
	{ "/api/vms", "GET", vms_list, ROUTE_MANY, "listVms", "Every VM, by id", QUERY(vm_query),
	  ANSWER("Vm", vm) },
	{ "/api/vms", "POST", vms_create, ROUTE_CHANGES | ROUTE_CREATES, "createVm",
	  "Make a VM, and start it if it is asked for", QUERY(change_query), BODY(vm_spec),
	  ANSWER("Vm", vm) },
	{ "/api/vms/:id", "DELETE", vms_delete, ROUTE_CHANGES | ROUTE_EMPTY, "deleteVm",
	  "Forget a VM that does not run; its disks are kept unless asked otherwise",
	  QUERY(vm_delete) },
	{ "/api/vms/:id", "GET", vms_show, 0, "getVm",
	  "One VM: what was asked for, and how it stands", ANSWER("Vm", vm) },
	{ "/api/vms/:id", "PATCH", vms_change, ROUTE_CHANGES, "changeVm",
	  "Change name, cpus, memory or autostart; the first ones of these from the next start on",
	  QUERY(change_query), BODY(vm_change), ANSWER("Vm", vm) },
	{ "/api/vms/:id/domain.xml", "GET", vms_xml, 0, "getVmDomain",
	  "What libvirt gets at the next start", .type = "application/xml" },
	{ "/api/vms/:id/kill", "POST", vms_kill, ROUTE_CHANGES, "killVm",
	  "End it at once, as by pulling the plug", QUERY(change_query), ANSWER("Vm", vm) },
	{ "/api/vms/:id/restart", "POST", vms_restart, ROUTE_CHANGES, "restartVm",
	  "Stop it as its power button does, and start it again; it keeps its cards",
	  QUERY(change_query), BODY(vm_restart), ANSWER("Vm", vm) },
	{ "/api/vms/:id/start", "POST", vms_start, ROUTE_CHANGES, "startVm",
	  "Claim and bind its cards, and start it", QUERY(change_query), BODY(accept),
	  ANSWER("Vm", vm) },
	{ "/api/vms/:id/stop", "POST", vms_stop, ROUTE_CHANGES, "stopVm",
	  "Press its power button and wait; then its cards go back", QUERY(change_query),
	  BODY(vm_stop), ANSWER("Vm", vm) },
};

const size_t api_routes_n = ARRAY_SIZE(api_routes);
