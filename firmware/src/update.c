/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the expert storage while the model runs (SPEC.md 6.1). Nothing that the model needs is ever touched: pages are written
 * where none lies, a table behind the one in use, and the last bytes programmed are those that make it valid. Whatever cuts this
 * off, the image holds one whole table. */
#include <string.h>

#include "mmoe_internal.h"

#ifdef MMOE_UPDATES

enum { PIECE_BYTES = 256, COPY_HEADER_BYTES = 32 };
static const uint8_t copy_magic[4] = {'M', 'M', 'O', 'T'};

static _Alignas(16) uint8_t piece[PIECE_BYTES]; /* static: a stuck driver may write it late */

static uint32_t read_u32(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }
static void write_u32(uint8_t *p, uint32_t value) {
    for (uint32_t i = 0; i < 4; i++, value >>= 8) p[i] = (uint8_t)value;
}

/* Where the table of a sequence number lies, its header first */
static uint32_t copy_of(const mmoe_image_layout *at, uint32_t sequence) { return at->copies + sequence % 2 * at->copy_bytes; }

static uint32_t piece_of(uint32_t length) { return length < PIECE_BYTES ? length : PIECE_BYTES; }

mmoe_status mmoe_update_crc(uint32_t offset, uint32_t length, uint32_t *crc) {
    for (uint32_t count; length; offset += count, length -= count) {
        count = piece_of(length);
        const mmoe_status status = mmoe_image_read(piece, offset, count);
        if (status != MMOE_OK) return status;
        *crc = mmoe_crc32(*crc, piece, count);
    }
    return MMOE_OK;
}

/* CRC-32 of a sequence number and the table behind the header of its copy */
static mmoe_status table_crc(const mmoe_image_layout *at, uint32_t sequence, uint32_t *crc) {
    uint8_t number[4];
    write_u32(number, sequence);
    *crc = mmoe_crc32(0, number, sizeof number);
    return mmoe_update_crc(copy_of(at, sequence) + COPY_HEADER_BYTES, MMOE_ENTRY_BYTES * at->count, crc);
}

/* Takes a copy of the table when it is whole and newer than the one that is known. */
static mmoe_status consider_copy(mmoe_image_layout *at, uint32_t copy) {
    mmoe_status status = mmoe_image_read(piece, at->copies + copy * at->copy_bytes, COPY_HEADER_BYTES);
    const uint32_t sequence = read_u32(piece + 4), wanted = read_u32(piece + 8);
    if (status != MMOE_OK || memcmp(piece, copy_magic, sizeof copy_magic) != 0) return status;
    if (sequence % 2 != copy || sequence <= at->sequence) return MMOE_OK;
    uint32_t crc;
    status = table_crc(at, sequence, &crc);
    if (status != MMOE_OK || crc != wanted) return status;
    at->sequence = sequence;
    at->table = copy_of(at, sequence) + COPY_HEADER_BYTES;
    return MMOE_OK;
}

mmoe_status mmoe_update_open(mmoe_image_layout *at, uint32_t copies) {
    const uint32_t mask = at->alignment - 1;
    at->copies = copies;
    at->copy_bytes = (COPY_HEADER_BYTES + MMOE_ENTRY_BYTES * at->count + mask) & ~mask;
    if (copies & mask || copies > at->bytes || 2 * at->copy_bytes > at->bytes - copies) return MMOE_E_IMAGE;
    const mmoe_status status = consider_copy(at, 0);
    return status == MMOE_OK ? consider_copy(at, 1) : status;
}

uint32_t mmoe_update_experts_crc(void) {
    uint32_t crc = 0;
    for (uint32_t e = 0; e < mmoe_image_parts()->count; e++) {
        uint8_t page[4];
        write_u32(page, mmoe_image_entry(e).crc);
        crc = mmoe_crc32(crc, page, sizeof page);
    }
    return crc;
}

mmoe_status mmoe_update_read(uint8_t *to, uint32_t offset, uint32_t length) {
    for (uint32_t count; length; to += count, offset += count, length -= count) {
        count = piece_of(length);
        const mmoe_status status = mmoe_image_read(piece, offset, count);
        if (status != MMOE_OK) return status;
        memcpy(to, piece, count);
    }
    return MMOE_OK;
}

/* --- what may be written -------------------------------------------------------------------------------------------------- */

typedef struct { uint32_t offset, length; } part;

static int meets(part a, part b) { return a.offset < b.offset + b.length && b.offset < a.offset + a.length; }

/* Whether the model needs what lies there */
static int in_use(const mmoe_session *s, part there) {
    const mmoe_image_layout *at = mmoe_image_parts();
    if (s->ready != MMOE_OK) return 0; /* there is no model */
    if (meets(there, (part){0, MMOE_HEADER_BYTES + MMOE_ENTRY_BYTES * at->count})) return 1;
    if (at->sequence && meets(there, (part){copy_of(at, at->sequence), at->copy_bytes})) return 1;
    for (uint32_t e = 0; e < at->count; e++)
        if (meets(there, (part){mmoe_image_entry(e).offset, s->rt->model->expert_bytes})) return 1;
    return 0;
}

mmoe_status mmoe_update_erase(mmoe_session *s, uint32_t offset, uint32_t length, int anything) {
    if (length > UINT32_MAX - offset) return MMOE_E_ARGUMENT;
    if (anything) {
        s->generating = 0;
        s->ready = MMOE_E_IMAGE;
    }
    return in_use(s, (part){offset, length}) ? MMOE_E_ARGUMENT : mmoe_port_flash_erase(offset, length);
}

mmoe_status mmoe_update_program(mmoe_session *s, uint32_t offset, const uint8_t *data, uint32_t length) {
    const mmoe_image_layout *at = mmoe_image_parts();
    const part there = {offset, length};
    if (length > UINT32_MAX - offset || in_use(s, there)) return MMOE_E_ARGUMENT;
    /* only a switch makes a table valid */
    if (s->ready == MMOE_OK && meets(there, (part){copy_of(at, at->sequence + 1), COPY_HEADER_BYTES})) return MMOE_E_ARGUMENT;
    for (uint32_t count; length; data += count, offset += count, length -= count) {
        count = piece_of(length);
        memcpy(piece, data, count);
        const mmoe_status status = mmoe_port_flash_program(offset, piece, count);
        if (status != MMOE_OK) return status;
    }
    return MMOE_OK;
}

/* --- the switch ------------------------------------------------------------------------------------------------------------ */

mmoe_status mmoe_update_reopen(mmoe_session *s) {
    s->generating = 0;
    return s->ready = mmoe_init(&s->rt);
}

/* Whether an expert's entry in a new table is as it was, or its page has the CRC-32 that the entry says */
static mmoe_status check_entry(const mmoe_session *s, uint32_t table, uint32_t expert) {
    const mmoe_page_entry old = mmoe_image_entry(expert);
    mmoe_page_entry entry;
    uint32_t crc = 0;
    mmoe_status status = mmoe_image_read_entry(mmoe_image_parts(), table, expert, &entry);
    if (status != MMOE_OK || (entry.offset == old.offset && entry.crc == old.crc)) return status;
    status = mmoe_update_crc(entry.offset, s->rt->model->expert_bytes, &crc);
    if (status != MMOE_OK) return status;
    return crc == entry.crc ? MMOE_OK : MMOE_E_PAGE_CRC;
}

mmoe_status mmoe_update_switch(mmoe_session *s, uint32_t sequence, uint32_t crc) {
    const mmoe_image_layout *at = mmoe_image_parts();
    if (s->ready != MMOE_OK) return s->ready;
    if (sequence != at->sequence + 1) return MMOE_E_ARGUMENT;
    const uint32_t copy = copy_of(at, sequence);
    uint32_t found;
    mmoe_status status = table_crc(at, sequence, &found);
    if (status == MMOE_OK && found != crc) status = MMOE_E_IMAGE;
    for (uint32_t e = 0; e < at->count && status == MMOE_OK; e++) status = check_entry(s, copy + COPY_HEADER_BYTES, e);
    if (status != MMOE_OK) return status;
    memset(piece, 0xFF, COPY_HEADER_BYTES);
    memcpy(piece, copy_magic, sizeof copy_magic);
    write_u32(piece + 4, sequence);
    write_u32(piece + 8, crc);
    status = mmoe_port_flash_program(copy, piece, COPY_HEADER_BYTES);
    return status == MMOE_OK ? mmoe_update_reopen(s) : status;
}

#endif
