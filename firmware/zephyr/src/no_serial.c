/* SPDX-License-Identifier: Apache-2.0
 *
 * Without a host's line: nothing comes, and what is said is lost. */
#include "mmoe_runtime.h"
#include "port.h"

int mmoe_serial_start(void) { return 0; }

int mmoe_port_read_byte(int wait) {
    if (wait) k_sem_take(&mmoe_wake, K_FOREVER);
    return -1;
}

void mmoe_port_write(const void *data, uint32_t length) {
    ARG_UNUSED(data);
    ARG_UNUSED(length);
}
