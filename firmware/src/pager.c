/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts from the image into slots (SPEC.md 6). Reads run one at a time, in the order the experts are wanted, as far ahead
 * as slots are free. A slot the driver may still write to is never given to anything else, however long it takes. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_PAGE_TIMEOUT_MS
#define MMOE_PAGE_TIMEOUT_MS 1000 /* of one read; a page of 64 KiB takes this long at 64 KiB/s */
#endif
#define AGEING_TOKENS 64 /* uses are halved this often; below 128, so that they fit a byte */
#define NO_EXPERT 0xFFFFu
enum { IMAGE_VERSION = 1, HEADER_BYTES = 64, ENTRY_BYTES = 12 };

typedef struct { uint32_t offset, length, crc; } page_entry;

static struct {
    const mmoe_model *model;
    const mmoe_memory *memory;
    mmoe_statistics *statistics;
    uint64_t timeout_ticks;
    uint32_t uses;   /* of experts, so far: the clock of mmoe_slot.used */
    uint32_t tokens; /* since the last ageing */
    uint16_t loading; /* slot, or MMOE_NO_SLOT when the driver is idle */
    uint16_t failed;  /* expert whose read failed in the background, with failure */
    mmoe_status failure;
    /* Misses of this layer and when they were asked for; those before `started` are loading or loaded */
    struct {
        uint32_t used;
        uint16_t expert;
    } queue[MMOE_MAX_TOP_K];
    uint32_t started, queued;
} pager;

static uint32_t read_u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t read_u32(const uint8_t *p) { return read_u16(p) | read_u16(p + 2) << 16; }

static uint8_t *slot_page(uint32_t slot) { return pager.memory->slots + slot * pager.model->expert_bytes; }

/* --- the image --------------------------------------------------------------------------------------------------------- */

/* Copies a small part of the image; the driver must be idle. */
static mmoe_status read_image(void *to, uint32_t offset, uint32_t length) {
    if (pager.model->expert_image) {
        memcpy(to, pager.model->expert_image + offset, length);
        return MMOE_OK;
    }
    const mmoe_status status = mmoe_port_read_start(to, offset, length);
    if (status != MMOE_OK) return status;
    const uint64_t start = mmoe_port_ticks();
    for (;;) {
        const int done = mmoe_port_read_done();
        if (done) return done > 0 ? MMOE_OK : (mmoe_status)done;
        if (mmoe_port_ticks() - start > pager.timeout_ticks) return MMOE_E_PAGE_TIMEOUT;
    }
}

static mmoe_status read_entry(uint32_t expert, page_entry *entry) {
    static uint8_t bytes[ENTRY_BYTES]; /* static: a stuck driver may write it late */
    const mmoe_status status = read_image(bytes, HEADER_BYTES + ENTRY_BYTES * expert, ENTRY_BYTES);
    if (status != MMOE_OK) return status;
    *entry = (page_entry){read_u32(bytes), read_u32(bytes + 4), read_u32(bytes + 8)};
    return MMOE_OK;
}

static mmoe_status check_image(void) {
    const mmoe_model *model = pager.model;
    const uint32_t count = (uint32_t)model->layers * model->experts;
    static uint8_t header[HEADER_BYTES];
    mmoe_status status = read_image(header, 0, HEADER_BYTES);
    if (status != MMOE_OK) return status;
    const uint32_t alignment = read_u32(header + 12), image_bytes = read_u32(header + 16);
    if (memcmp(header, "MMOE", 4) != 0 || read_u16(header + 4) != IMAGE_VERSION || read_u16(header + 6) != HEADER_BYTES ||
        read_u32(header + 60) != mmoe_crc32(0, header, 60))
        return MMOE_E_IMAGE;
    if (memcmp(header + 24, model->model_id, 32) != 0 || read_u32(header + 8) != count ||
        read_u32(header + 20) != model->expert_bytes || alignment < 16 || (alignment & (alignment - 1)))
        return MMOE_E_IMAGE;
    for (uint32_t e = 0; e < count; e++) {
        page_entry entry;
        status = read_entry(e, &entry);
        if (status != MMOE_OK) return status;
        if (entry.length != model->expert_bytes || entry.offset & (alignment - 1) || entry.length > image_bytes ||
            entry.offset > image_bytes - entry.length || entry.offset < HEADER_BYTES + ENTRY_BYTES * count)
            return MMOE_E_IMAGE;
    }
    return MMOE_OK;
}

mmoe_status mmoe_pager_open(const mmoe_model *model, const mmoe_memory *memory, mmoe_statistics *statistics) {
    uint32_t rest;
    memset(&pager, 0, sizeof pager);
    pager.model = model;
    pager.memory = memory;
    pager.statistics = statistics;
    pager.loading = MMOE_NO_SLOT;
    pager.timeout_ticks = mmoe_divide((uint64_t)mmoe_port_tick_hz() * MMOE_PAGE_TIMEOUT_MS, 1000, &rest) + 1;
    mmoe_pager_empty();
    memset(memory->expert_uses, 0, (uint32_t)model->layers * model->experts);
    return model->experts ? check_image() : MMOE_OK;
}

void mmoe_pager_empty(void) {
    for (uint32_t e = 0; e < (uint32_t)pager.model->layers * pager.model->experts; e++)
        pager.memory->expert_slot[e] = MMOE_NO_SLOT;
    for (uint32_t s = 0; s < pager.model->slots; s++) {
        mmoe_slot *slot = &pager.memory->slot[s];
        slot->needed = 0;
        if (s == pager.loading)
            pager.memory->expert_slot[slot->expert] = (uint16_t)s; /* the driver still has it */
        else
            slot->state = MMOE_SLOT_EMPTY;
    }
    pager.queued = pager.started = 0;
}

/* --- slots --------------------------------------------------------------------------------------------------------------- */

void mmoe_pager_begin_token(void) {
    for (uint32_t s = 0; s < pager.model->slots; s++) pager.memory->slot[s].needed = 0;
    pager.queued = pager.started = 0;
    if (++pager.tokens < AGEING_TOKENS) return;
    pager.tokens = 0;
    for (uint32_t e = 0; e < (uint32_t)pager.model->layers * pager.model->experts; e++) pager.memory->expert_uses[e] >>= 1;
}

/* Whether a is to be evicted rather than b. */
static int is_worse(const mmoe_slot *a, const mmoe_slot *b) {
    if (pager.model->policy == MMOE_POLICY_LFU) {
        const uint8_t uses_a = pager.memory->expert_uses[a->expert], uses_b = pager.memory->expert_uses[b->expert];
        if (uses_a != uses_b) return uses_a < uses_b;
    }
    return pager.uses - a->used > pager.uses - b->used;
}

/* A slot to load into, empty if there is one; MMOE_NO_SLOT when all are needed. */
static uint32_t find_slot(void) {
    uint32_t best = MMOE_NO_SLOT;
    for (uint32_t s = 0; s < pager.model->slots; s++) {
        const mmoe_slot *slot = &pager.memory->slot[s];
        if (slot->state == MMOE_SLOT_EMPTY) return s;
        if (slot->needed || slot->state == MMOE_SLOT_LOADING) continue;
        if (best == MMOE_NO_SLOT || is_worse(slot, &pager.memory->slot[best])) best = s;
    }
    return best;
}

static void drop_slot(uint32_t s) {
    mmoe_slot *slot = &pager.memory->slot[s];
    pager.memory->expert_slot[slot->expert] = MMOE_NO_SLOT;
    slot->state = MMOE_SLOT_EMPTY;
    slot->needed = 0;
}

static void note_failure(uint16_t expert, mmoe_status status) {
    pager.failed = expert;
    pager.failure = status;
    pager.statistics->load_errors++;
    pager.queued = pager.started; /* the token is lost: read nothing more for it */
}

/* Starts the read of the first queued miss; the driver is idle. */
static void start_next(void) {
    const uint32_t s = find_slot();
    if (s == MMOE_NO_SLOT) return;
    mmoe_slot *slot = &pager.memory->slot[s];
    const uint16_t expert = pager.queue[pager.started].expert;
    const uint32_t used = pager.queue[pager.started++].used;
    const uint64_t begin = mmoe_port_ticks();
    page_entry entry;
    mmoe_status status = read_entry(expert, &entry);
    if (status == MMOE_OK && entry.length != pager.model->expert_bytes) status = MMOE_E_IMAGE;
    if (slot->state != MMOE_SLOT_EMPTY) drop_slot(s);
    if (status == MMOE_OK) status = mmoe_port_read_start(slot_page(s), entry.offset, entry.length);
    pager.statistics->stall_ticks += mmoe_port_ticks() - begin; /* a driver that blocks does all its work here */
    if (status != MMOE_OK) {
        note_failure(expert, status);
        return;
    }
    *slot = (mmoe_slot){.used = used, .crc = entry.crc, .expert = expert, .state = MMOE_SLOT_LOADING, .needed = 1};
    pager.memory->expert_slot[expert] = (uint16_t)s;
    pager.loading = (uint16_t)s;
}

void mmoe_pager_poll(void) {
    if (pager.loading != MMOE_NO_SLOT) {
        const int done = mmoe_port_read_done();
        if (done == 0) return;
        const uint32_t s = pager.loading;
        pager.loading = MMOE_NO_SLOT;
        if (done < 0) {
            const uint16_t expert = pager.memory->slot[s].expert;
            drop_slot(s);
            note_failure(expert, (mmoe_status)done);
        } else {
            pager.memory->slot[s].state = MMOE_SLOT_ARRIVED;
            pager.statistics->bytes_loaded += pager.model->expert_bytes;
        }
    }
    if (pager.started < pager.queued) start_next();
}

/* --- what a token asks for ----------------------------------------------------------------------------------------------- */

void mmoe_pager_want(const uint16_t *expert, uint32_t count, uint8_t *hit) {
    const mmoe_memory *memory = pager.memory;
    pager.queued = pager.started = 0;
    pager.failed = NO_EXPERT;
    if (pager.loading != MMOE_NO_SLOT) mmoe_pager_poll(); /* left over from a token that failed */
    pager.failed = NO_EXPERT;
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t e = expert[i];
        const uint32_t s = memory->expert_slot[e];
        pager.uses++;
        if (memory->expert_uses[e] < 255) memory->expert_uses[e]++;
        hit[i] = pager.model->slots == 0;
        if (pager.model->slots && s != MMOE_NO_SLOT) {
            memory->slot[s].used = pager.uses;
            memory->slot[s].needed = 1;
            hit[i] = memory->slot[s].state != MMOE_SLOT_LOADING;
        } else if (pager.model->slots) {
            pager.queue[pager.queued].used = pager.uses;
            pager.queue[pager.queued++].expert = e;
        }
        if (hit[i])
            pager.statistics->hits++;
        else
            pager.statistics->misses++;
    }
    if (pager.queued) mmoe_pager_poll();
}

/* Experts used where they lie: checked when they are first used. */
static mmoe_status take_in_place(uint16_t expert, const uint8_t **page) {
    page_entry entry;
    const mmoe_status status = read_entry(expert, &entry);
    if (status != MMOE_OK) return status;
    *page = pager.model->expert_image + entry.offset;
    if (pager.memory->expert_slot[expert] != MMOE_NO_SLOT) return MMOE_OK;
    if (mmoe_crc32(0, *page, entry.length) != entry.crc) {
        pager.statistics->load_errors++;
        return MMOE_E_PAGE_CRC;
    }
    pager.memory->expert_slot[expert] = 0;
    return MMOE_OK;
}

/* Waits until the expert is in a slot that the driver has left. */
static mmoe_status wait_for(uint16_t expert) {
    uint64_t start = mmoe_port_ticks();
    uint16_t loading = pager.loading;
    for (;;) {
        mmoe_pager_poll();
        if (pager.failed == expert) return pager.failure;
        const uint32_t s = pager.memory->expert_slot[expert];
        if (s != MMOE_NO_SLOT && pager.memory->slot[s].state != MMOE_SLOT_LOADING) return MMOE_OK;
        const uint64_t now = mmoe_port_ticks();
        if (loading != pager.loading) { /* another read has begun */
            loading = pager.loading;
            start = now;
        } else if (now - start > pager.timeout_ticks) {
            pager.statistics->load_errors++;
            return MMOE_E_PAGE_TIMEOUT;
        }
    }
}

mmoe_status mmoe_pager_take(uint16_t expert, const uint8_t **page) {
    if (pager.model->slots == 0) return take_in_place(expert, page);
    uint32_t s = pager.memory->expert_slot[expert];
    if (s == MMOE_NO_SLOT || pager.memory->slot[s].state != MMOE_SLOT_READY) {
        const uint64_t start = mmoe_port_ticks();
        const uint64_t stalled = pager.statistics->stall_ticks;
        mmoe_status status = wait_for(expert);
        if (status == MMOE_OK) {
            s = pager.memory->expert_slot[expert];
            mmoe_pager_poll(); /* the next read runs while this page is checked */
            if (mmoe_crc32(0, slot_page(s), pager.model->expert_bytes) == pager.memory->slot[s].crc) {
                pager.memory->slot[s].state = MMOE_SLOT_READY;
            } else {
                drop_slot(s);
                pager.statistics->load_errors++;
                status = MMOE_E_PAGE_CRC;
            }
        }
        pager.statistics->stall_ticks = stalled + (mmoe_port_ticks() - start);
        if (status != MMOE_OK) return status;
    }
    *page = slot_page(s);
    return MMOE_OK;
}

void mmoe_pager_release(uint16_t expert) {
    if (pager.model->slots == 0) return;
    pager.memory->slot[pager.memory->expert_slot[expert]].needed = 0;
}
