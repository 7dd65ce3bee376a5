/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can VMs use KVM here? libvirt's first answer takes QEMU to be run, seconds of a slow machine, so
 * a thread of its own asks, and whoever shows VMs goes on meanwhile. What is shared is this file's,
 * under its lock.
 */
#pragma once

#include <stdbool.h>

#include "vm/libvirt.h"

/* Ask (again: there is another connection). news: called on another thread when it is known. Never
 * waits. */
void kvm_ask(struct virt *virt, void (*news)(void));
/* 1 it can, 0 it cannot, -1 not known yet. */
int kvm_known(void);
/* Ask no more. False: the thread still waits for libvirt after ms. */
bool kvm_stop(unsigned ms);
