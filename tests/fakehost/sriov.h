/* SPDX-License-Identifier: Apache-2.0 */
/* SR-IOV: drivers/pci/iov.c. */
#pragma once

#include "host.h"

/* The sriov_* files of a PF, physfn and the like of a VF. */
void sriov_add_nodes(struct function *f);

/* The VFs that the description says are there from the start. */
void sriov_start(struct function *pf);

struct function *sriov_vf(const struct function *pf, unsigned index);

/* Removes all VFs; may block while one of them is in use. */
void sriov_disable(struct function *pf);
