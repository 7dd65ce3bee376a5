/* SPDX-License-Identifier: Apache-2.0 */
/* The mark in a domain's metadata that says it is ours: its names, for who writes and who reads it.
 */
#pragma once

#define MARK_NAMESPACE "urn:horcrux:vm:1"
#define MARK_ELEMENT   "vm"
#define MARK_ID	       "id"
#define MARK_STARTED   "started"
