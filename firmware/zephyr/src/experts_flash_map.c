/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image lies in the flash partition `chosen { mmoe,experts }`, read through its driver. A thread waits for the
 * driver, so that the model computes meanwhile where the driver sleeps. */
#include <errno.h>
#include <zephyr/storage/flash_map.h>

#include "mmoe_runtime.h"
#include "port.h"

static const struct flash_area *area;
static K_SEM_DEFINE(requested, 0, 1);
static struct {
    void *dst;
    uint32_t offset, length;
} request;
static uint64_t ended;    /* written before done is */
static atomic_t done = 1; /* as mmoe_port_read_done */

static void read_pages(void *a, void *b, void *c) {
    ARG_UNUSED(a);
    ARG_UNUSED(b);
    ARG_UNUSED(c);
    for (;;) {
        k_sem_take(&requested, K_FOREVER);
        const int error = flash_area_read(area, (off_t)request.offset, request.dst, request.length);
        ended = mmoe_port_ticks();
        atomic_set(&done, error ? MMOE_E_PAGE_READ : 1);
    }
}

static K_KERNEL_STACK_DEFINE(reader_stack, CONFIG_MMOE_EMBED_READER_STACK_BYTES);
static struct k_thread reader;

int mmoe_experts_start(void) {
    if (flash_area_open(DT_FIXED_PARTITION_ID(DT_CHOSEN(mmoe_experts)), &area)) return -ENODEV;
    if (!flash_area_device_is_ready(area)) return -ENODEV;
    /* one above the model's: it must run while the model waits for a page */
    k_thread_create(&reader, reader_stack, K_KERNEL_STACK_SIZEOF(reader_stack), read_pages, NULL, NULL, NULL,
                    CONFIG_MMOE_EMBED_THREAD_PRIORITY - 1, 0, K_NO_WAIT);
    k_thread_name_set(&reader, "mmoe_reader");
    return 0;
}

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    if (atomic_get(&done) == 0) return MMOE_E_PAGE_READ; /* one at a time */
    request.dst = dst;
    request.offset = offset;
    request.length = length;
    atomic_set(&done, 0);
    k_sem_give(&requested);
    return MMOE_OK;
}

int mmoe_port_read_done(void) { return (int)atomic_get(&done); }
uint32_t mmoe_port_read_progress(void) { return 0; }
uint64_t mmoe_port_read_ended(void) { return ended; }

#ifdef MMOE_UPDATES
static mmoe_status status_of(int error) {
    return error == 0 ? MMOE_OK : error == -EINVAL ? MMOE_E_ARGUMENT : MMOE_E_PAGE_READ;
}

mmoe_status mmoe_port_flash_erase(uint32_t offset, uint32_t length) {
    return status_of(flash_area_erase(area, (off_t)offset, length));
}

mmoe_status mmoe_port_flash_program(uint32_t offset, const void *data, uint32_t length) {
    return status_of(flash_area_write(area, (off_t)offset, data, length));
}
#endif
