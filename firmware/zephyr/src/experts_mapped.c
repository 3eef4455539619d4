/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image lies in the address space, as a section of the image or in a mapped partition: ../../ports/storage_mapped.c
 * copies from there, and nothing is to be started. */
#include "port.h"

int mmoe_experts_start(void) { return 0; }
