/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers that the table of routes names; each in the file of its resource. */
#pragma once

#include "http/router.h"

/* gpus.c, gpu_changes.c, health.c, openapi.c, tasks.c, vms.c */
route_handler gpus_list, gpus_scan, gpus_show, gpus_group, gpus_iommu, gpus_doctor;
route_handler gpus_bind, gpus_release_quarantine, gpus_sriov, gpus_unbind;
route_handler vgpus_list, vgpus_profiles, vgpus_instances;
route_handler health_show, version_show;
route_handler openapi_show;
route_handler vms_list, vms_show, vms_xml;
route_handler vms_create, vms_change, vms_delete, vms_start, vms_stop, vms_kill, vms_restart;
route_handler tasks_list, tasks_show, tasks_cancel;
