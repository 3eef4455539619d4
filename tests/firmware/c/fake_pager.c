/* SPDX-License-Identifier: Apache-2.0
 *
 * The pager behind a port whose every failure a test can choose. */
#include <string.h>

#include "mmoe_internal.h"

enum { MAX_EXPERTS = 64, MAX_PAGE = 256 };

static _Alignas(16) uint8_t image[(1 << 16) + 16], slots[MAX_EXPERTS * MAX_PAGE];
static uint16_t expert_uses[MAX_EXPERTS];
static mmoe_slot slot[MAX_EXPERTS];
static uint16_t expert_slot[MAX_EXPERTS];
static mmoe_model model;
static mmoe_layer_statistics layer_statistics[MAX_EXPERTS];
static mmoe_statistics statistics;
static mmoe_page_entry table[MAX_EXPERTS];
static mmoe_wanted queue[MAX_EXPERTS];
static uint8_t place[MAX_EXPERTS];
static uint16_t first_slot[MAX_EXPERTS];
static const mmoe_memory memory = {.slots = slots,
                                   .slot = slot,
                                   .expert_slot = expert_slot,
                                   .expert_uses = expert_uses,
                                   .layer_statistics = layer_statistics,
                                   .table = table,
                                   .queue = queue};

/* Chosen by a test */
int fake_start_status, fake_done_status, fake_polls, fake_stuck, fake_short, fake_progress;
/* Seen by a test */
int fake_starts, fake_overlaps;
static struct {
    uint8_t *to;
    uint32_t offset, length, arrived;
    int polls;
} reads[MMOE_READS], *const oldest = reads;
static uint32_t running;
static uint64_t now, ended; /* ended: one tick before read_done says so */

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    if (running == MMOE_READS) fake_overlaps++;
    if (fake_start_status) return (mmoe_status)fake_start_status;
    fake_starts++;
    if (running < MMOE_READS) running++;
    reads[running - 1].to = dst;
    reads[running - 1].offset = offset;
    reads[running - 1].length = length;
    reads[running - 1].polls = fake_polls;
    reads[running - 1].arrived = 0;
    return MMOE_OK;
}

int mmoe_port_read_done(void) {
    if (!running) return 1;
    if (fake_stuck || oldest->polls-- > 0) return 0;
    ended = now;
    if (!fake_done_status) memcpy(oldest->to, image + oldest->offset, fake_short ? oldest->length / 2 : oldest->length);
    running--;
    memmove(reads, reads + 1, running * sizeof reads[0]);
    return fake_done_status ? fake_done_status : 1;
}

uint64_t mmoe_port_read_ended(void) { return ended; }

/* An eighth more arrives with each question, where the test asks for it */
uint32_t mmoe_port_read_progress(void) {
    if (!fake_progress || !running || fake_short || fake_done_status) return 0;
    oldest->arrived += oldest->length / 8;
    if (oldest->arrived > oldest->length) oldest->arrived = oldest->length;
    memcpy(oldest->to, image + oldest->offset, oldest->arrived);
    return oldest->arrived;
}
uint64_t mmoe_port_ticks(void) { return now += 10; }
uint32_t mmoe_port_tick_hz(void) { return 1000; }

/* The image is `length` bytes; mapped 0: only the port reads it, else it lies mapped - 1 bytes behind a multiple of 16. */
int32_t fake_open(const uint8_t *data, uint32_t length, uint16_t layers, uint16_t experts, uint16_t top_k,
                  uint32_t expert_bytes, uint16_t slot_count, uint16_t policy, int mapped) {
    memset(reads, 0, sizeof reads);
    running = 0;
    memset(&model, 0, sizeof model);
    memset(image, 0xFF, sizeof image);
    memset(slots, 0, sizeof slots);
    memcpy(image + (mapped ? mapped - 1 : 0), data, length);
    fake_start_status = fake_done_status = fake_polls = fake_stuck = fake_short = fake_progress = fake_starts = fake_overlaps = 0;
    model.layers = layers;
    model.experts = experts;
    model.top_k = top_k;
    model.expert_bytes = expert_bytes;
    model.slots = slot_count;
    model.policy = policy;
    model.expert_image = mapped ? image + mapped - 1 : NULL;
    memset(model.model_id, 0x11, sizeof model.model_id);
    memset(layer_statistics, 0, sizeof layer_statistics);
    statistics = (mmoe_statistics){.layer = layer_statistics};
    memset(place, 0, sizeof place);
    return (int32_t)mmoe_pager_open(&model, &memory, &statistics);
}

/* The page, or NULL with the status in *status */
const uint8_t *fake_take(uint16_t expert, uint32_t bytes, int32_t *status) {
    const uint8_t *page = NULL;
    *status = (int32_t)mmoe_pager_take(expert, bytes, &page);
    return *status ? NULL : page;
}

/* Of one layer, but load_errors and what was prefetched of all */
void fake_read_statistics(uint32_t layer, uint64_t *out) {
    const mmoe_layer_statistics *l = &layer_statistics[layer];
    const uint64_t values[] = {l->hits,       l->misses,      statistics.load_errors, l->bytes_loaded,
                               l->load_ticks, l->stall_ticks, statistics.prefetched,  statistics.prefetch_used};
    memcpy(out, values, sizeof values);
}

/* Chooses an expert's place, and (layers + 1) first slots or none; before the first use */
void fake_place(uint16_t expert, uint8_t where) {
    place[expert] = where;
    model.expert_place = place;
}
void fake_divide_slots(const uint16_t *first) {
    memcpy(first_slot, first, (model.layers + 1u) * sizeof first_slot[0]);
    model.first_slot = first_slot;
}
uint32_t fake_now(void) { return (uint32_t)now; }
uint16_t fake_slot_of(uint16_t expert) { return expert_slot[expert]; }

/* A reset: slots and what is known of them are as they were. Returns the number of pages that are there still. */
int32_t fake_restart(void) {
    running = 0;
    memset(layer_statistics, 0, sizeof layer_statistics);
    statistics = (mmoe_statistics){.layer = layer_statistics};
    const int32_t status = (int32_t)mmoe_pager_open(&model, &memory, &statistics);
    return status ? status : (int32_t)statistics.kept;
}
void fake_damage_slot(uint16_t number) { slots[number * model.expert_bytes + 7] ^= 0x40; }

void fake_write_image(uint32_t offset, const uint8_t *data, uint32_t length) { memcpy(image + offset, data, length); }
void fake_corrupt(uint32_t offset) { image[offset] ^= 0x40; }
