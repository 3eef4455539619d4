/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_STORAGE_H
#define MMOE_STORAGE_H

/* What a storage driver of the expert image defines: mmoe_port_read_start, _done, _progress and _ended of mmoe_runtime.h. Where
 * the build asks for a flash model (flash_model.c), it takes those names and the clock's; the driver's and the clock's own become
 * mmoe_storage_... */
#ifdef MMOE_FLASH_MODEL
#define mmoe_port_read_start mmoe_storage_read_start
#define mmoe_port_read_done mmoe_storage_read_done
#define mmoe_port_read_progress mmoe_storage_read_progress
#define mmoe_port_read_ended mmoe_storage_read_ended
#define mmoe_port_ticks mmoe_storage_ticks
#endif

#include "mmoe_runtime.h"

/* Emitted where the storage is mapped; weak, because a dense model has none and never reads it. */
extern const uint8_t mmoe_expert_image[] __attribute__((weak));

#endif
