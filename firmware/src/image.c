/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image (SPEC.md 6): is it the model's, and where does each page lie. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_PAGE_TIMEOUT_MS
#define MMOE_PAGE_TIMEOUT_MS 1000 /* of one read; a page of 64 KiB takes this long at 64 KiB/s */
#endif
enum { IMAGE_VERSION = 1, HEADER_BYTES = 64, ENTRY_BYTES = 12 };

static struct {
    const mmoe_model *model;
    mmoe_page_entry *table; /* NULL: the image's own is mapped */
    uint64_t timeout_ticks;
} image;

static uint32_t read_u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t read_u32(const uint8_t *p) { return read_u16(p) | read_u16(p + 2) << 16; }

/* Copies a small part of the image; the driver must be idle. */
static mmoe_status read_image(void *to, uint32_t offset, uint32_t length) {
    if (image.model->expert_image) {
        memcpy(to, image.model->expert_image + offset, length);
        return MMOE_OK;
    }
    const mmoe_status status = mmoe_port_read_start(to, offset, length);
    if (status != MMOE_OK) return status;
    const uint64_t start = mmoe_port_ticks();
    for (;;) {
        const int done = mmoe_port_read_done();
        if (done) return done > 0 ? MMOE_OK : (mmoe_status)done;
        if (mmoe_port_ticks() - start > image.timeout_ticks) return MMOE_E_PAGE_TIMEOUT;
    }
}

static mmoe_status check_table(uint32_t count, uint32_t alignment, uint32_t image_bytes) {
    static _Alignas(16) uint8_t entry[ENTRY_BYTES]; /* static: a stuck driver may write it late */
    for (uint32_t e = 0; e < count; e++) {
        const mmoe_status status = read_image(entry, HEADER_BYTES + ENTRY_BYTES * e, ENTRY_BYTES);
        if (status != MMOE_OK) return status;
        const uint32_t offset = read_u32(entry), length = read_u32(entry + 4);
        if (length != image.model->expert_bytes || offset & (alignment - 1) || length > image_bytes ||
            offset > image_bytes - length || offset < HEADER_BYTES + ENTRY_BYTES * count)
            return MMOE_E_IMAGE;
        if (image.table) image.table[e] = (mmoe_page_entry){.offset = offset, .crc = read_u32(entry + 8)};
    }
    return MMOE_OK;
}

mmoe_status mmoe_image_open(const mmoe_model *model, const mmoe_memory *memory) {
    static _Alignas(16) uint8_t header[HEADER_BYTES];
    uint32_t rest;
    const uint32_t count = (uint32_t)model->layers * model->experts;
    image.model = model;
    image.table = model->expert_image ? NULL : memory->table;
    image.timeout_ticks = mmoe_divide((uint64_t)mmoe_port_tick_hz() * MMOE_PAGE_TIMEOUT_MS, 1000, &rest) + 1;
    mmoe_status status = read_image(header, 0, HEADER_BYTES);
    if (status != MMOE_OK) return status;
    const uint32_t alignment = read_u32(header + 12), image_bytes = read_u32(header + 16);
    if (memcmp(header, "MMOE", 4) != 0 || read_u16(header + 4) != IMAGE_VERSION || read_u16(header + 6) != HEADER_BYTES ||
        read_u32(header + 60) != mmoe_crc32(0, header, 60))
        return MMOE_E_IMAGE;
    if (memcmp(header + 24, model->model_id, 32) != 0 || read_u32(header + 8) != count ||
        read_u32(header + 20) != model->expert_bytes || alignment < 16 || (alignment & (alignment - 1)) || image_bytes < 16)
        return MMOE_E_IMAGE;
    status = read_image(header, image_bytes - 16, 16);
    if (status == MMOE_E_PAGE_READ) return MMOE_E_IMAGE; /* the storage ends before the image does */
    return status == MMOE_OK ? check_table(count, alignment, image_bytes) : status;
}

mmoe_page_entry mmoe_image_entry(uint32_t expert) {
    if (image.table) return image.table[expert];
    const uint8_t *entry = image.model->expert_image + HEADER_BYTES + ENTRY_BYTES * expert;
    return (mmoe_page_entry){.offset = read_u32(entry), .crc = read_u32(entry + 8)};
}

uint64_t mmoe_image_timeout_ticks(void) { return image.timeout_ticks; }
