/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert image (SPEC.md 6): is it the model's, and where does each page lie. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_PAGE_TIMEOUT_MS
#define MMOE_PAGE_TIMEOUT_MS 1000 /* of one read; a page of 64 KiB takes this long at 64 KiB/s */
#endif
#ifdef MMOE_UPDATES
enum { IMAGE_VERSION = 2 };
#else
enum { IMAGE_VERSION = 1 };
#endif

static struct {
    const mmoe_model *model;
    mmoe_page_entry *table; /* NULL: the image's own is mapped */
#ifdef MMOE_UPDATES
    mmoe_image_layout layout;
#endif
    uint64_t timeout_ticks;
    uint8_t late; /* 1: a read of ours timed out and has no answer yet, which must not be taken for another's */
} image;

static uint32_t read_u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t read_u32(const uint8_t *p) { return read_u16(p) | read_u16(p + 2) << 16; }

int mmoe_image_is_late(void) {
    if (image.late && mmoe_port_read_done()) image.late = 0;
    return image.late;
}

mmoe_status mmoe_image_read(void *to, uint32_t offset, uint32_t length) {
    if (image.model->expert_image) {
        memcpy(to, image.model->expert_image + offset, length);
        return MMOE_OK;
    }
    const mmoe_status status = mmoe_image_is_late() ? MMOE_E_PAGE_TIMEOUT : mmoe_port_read_start(to, offset, length);
    if (status != MMOE_OK) return status;
    const uint64_t start = mmoe_port_ticks();
    for (;;) {
        const int done = mmoe_port_read_done();
        if (done) return done > 0 ? MMOE_OK : (mmoe_status)done;
        if (mmoe_port_ticks() - start > image.timeout_ticks) break;
    }
    image.late = 1;
    return MMOE_E_PAGE_TIMEOUT;
}

mmoe_status mmoe_image_read_entry(const mmoe_image_layout *at, uint32_t table, uint32_t expert, mmoe_page_entry *entry) {
    static _Alignas(16) uint8_t bytes[MMOE_ENTRY_BYTES]; /* static: a stuck driver may write it late */
    const mmoe_status status = mmoe_image_read(bytes, table + MMOE_ENTRY_BYTES * expert, MMOE_ENTRY_BYTES);
    if (status != MMOE_OK) return status;
    const uint32_t offset = read_u32(bytes), length = read_u32(bytes + 4);
    if (length != image.model->expert_bytes || offset & (at->alignment - 1) || length > at->bytes ||
        offset > at->bytes - length || offset < MMOE_HEADER_BYTES + MMOE_ENTRY_BYTES * at->count)
        return MMOE_E_IMAGE;
    *entry = (mmoe_page_entry){.offset = offset, .crc = read_u32(bytes + 8)};
    return MMOE_OK;
}

static mmoe_status check_table(const mmoe_image_layout *at) {
    for (uint32_t e = 0; e < at->count; e++) {
        mmoe_page_entry entry;
        const mmoe_status status = mmoe_image_read_entry(at, at->table, e, &entry);
        if (status != MMOE_OK) return status;
        if (image.table) image.table[e] = entry;
    }
    return MMOE_OK;
}

mmoe_status mmoe_image_open(const mmoe_model *model, const mmoe_memory *memory) {
    static _Alignas(16) uint8_t header[MMOE_HEADER_BYTES];
    uint32_t rest;
    if (!mmoe_is_aligned(model->expert_image)) return MMOE_E_ARGUMENT;
    const uint32_t count = (uint32_t)model->layers * model->experts;
    image.model = model;
    image.table = model->expert_image ? NULL : memory->table;
    image.timeout_ticks = mmoe_divide((uint64_t)mmoe_port_tick_hz() * MMOE_PAGE_TIMEOUT_MS, 1000, &rest) + 1;
    mmoe_status status = mmoe_image_read(header, 0, MMOE_HEADER_BYTES);
    if (status != MMOE_OK) return status;
    const uint32_t alignment = read_u32(header + 12), bytes = read_u32(header + 16);
    if (memcmp(header, "MMOE", 4) != 0 || read_u16(header + 4) != IMAGE_VERSION ||
        read_u16(header + 6) != MMOE_HEADER_BYTES || read_u32(header + 60) != mmoe_crc32(0, header, 60))
        return MMOE_E_IMAGE;
    if (memcmp(header + 24, model->model_id, 32) != 0 || read_u32(header + 8) != count ||
        read_u32(header + 20) != model->expert_bytes || alignment < 16 || (alignment & (alignment - 1)) || bytes < 16)
        return MMOE_E_IMAGE;
    mmoe_image_layout layout = {.count = count, .alignment = alignment, .bytes = bytes, .table = MMOE_HEADER_BYTES};
#ifdef MMOE_UPDATES
    const uint32_t copies = read_u32(header + 56);
#endif
    status = mmoe_image_read(header, bytes - 16, 16);
    if (status == MMOE_E_PAGE_READ) return MMOE_E_IMAGE; /* the storage ends before the image does */
#ifdef MMOE_UPDATES
    if (status == MMOE_OK) status = mmoe_update_open(&layout, copies);
    image.layout = layout;
#endif
    return status == MMOE_OK ? check_table(&layout) : status;
}

#ifdef MMOE_UPDATES
const mmoe_image_layout *mmoe_image_parts(void) { return &image.layout; }
static uint32_t table_in_use(void) { return image.layout.table; }
#else
static uint32_t table_in_use(void) { return MMOE_HEADER_BYTES; }
#endif

mmoe_page_entry mmoe_image_entry(uint32_t expert) {
    if (image.table) return image.table[expert];
    const uint8_t *entry = image.model->expert_image + table_in_use() + MMOE_ENTRY_BYTES * expert;
    return (mmoe_page_entry){.offset = read_u32(entry), .crc = read_u32(entry + 8)};
}

uint64_t mmoe_image_timeout_ticks(void) { return image.timeout_ticks; }
