/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the port share. */
#ifndef MMOE_ZEPHYR_PORT_H
#define MMOE_ZEPHYR_PORT_H

#include <stdbool.h>
#include <zephyr/kernel.h>

/* thread.c: the thread of the model, and what wakes it: a received byte or a question */
extern struct k_thread mmoe_thread;
extern struct k_sem mmoe_wake;

/* serial.c or no_serial.c; 0 or a negative errno */
int mmoe_serial_start(void);
/* experts_mapped.c, experts_flash_map.c; the same */
int mmoe_experts_start(void);

#endif
