/* SPDX-License-Identifier: Apache-2.0
 *
 * Every array whose size depends on the model. The linker places the large ones by section; none of them needs clearing. */
#include "mmoe_internal.h"
#include "model.h"

#define PLACED(section_name) __attribute__((section(".bss." section_name), aligned(16)))
#ifdef MMOE_RETAINED
#define OUTLIVES_RESET __attribute__((section(".noinit")))
#else
#define OUTLIVES_RESET
#endif
#ifdef MMOE_STORAGE_FILE
#define SLOT_ALIGNMENT __attribute__((aligned(4096))) /* so that a disk can write into them */
#else
#define SLOT_ALIGNMENT
#endif
#define AT_LEAST_1(n) MMOE_MAX(1, n)

#define EXPERTS (MMOE_MODEL_ROUTED_LAYERS * MMOE_MODEL_EXPERTS)
#define TABLE (MMOE_MODEL_MAPPED ? 0 : EXPERTS)
#define ROUTES (2 * MMOE_MODEL_ROUTED_LAYERS * MMOE_MODEL_TOP_K)

_Static_assert(MMOE_MODEL_TOP_K <= MMOE_MAX_TOP_K, "more experts a token than the runtime handles");
_Static_assert(MMOE_MODEL_EXPERT_BYTES % 16 == 0, "expert pages are padded to 16 bytes");
_Static_assert(MMOE_MODEL_SLOTS == 0 || MMOE_MODEL_SLOTS - MMOE_MODEL_TOP_K > 0 || MMOE_MODEL_SLOTS >= (int)EXPERTS,
               "fewer expert slots than top_k + 1");
#ifdef MMOE_UPDATES
_Static_assert(MMOE_MODEL_SPARE_PAGES > 0, "MMOE_UPDATES is for expert images with spare pages");
#else
_Static_assert(MMOE_MODEL_SPARE_PAGES == 0, "an expert image with spare pages needs MMOE_UPDATES");
#endif
_Static_assert(EXPERTS < MMOE_NO_SLOT && MMOE_MODEL_SLOTS < MMOE_NO_SLOT, "expert numbers are 16 bits");

static uint8_t arena[AT_LEAST_1(MMOE_MODEL_ARENA_BYTES)] PLACED("mmoe_arena");
static uint8_t kv[AT_LEAST_1(MMOE_MODEL_LAYERS * MMOE_MODEL_KV_BYTES)] PLACED("mmoe_kv");
static uint8_t slots[AT_LEAST_1(MMOE_MODEL_SLOTS * MMOE_MODEL_EXPERT_BYTES)] PLACED("mmoe_slots") SLOT_ALIGNMENT;

static uint32_t tokens[MMOE_MODEL_CHUNK];
static uint8_t routes[AT_LEAST_1(ROUTES)];
static uint64_t op_ticks[MMOE_MODEL_OPS];
static uint32_t op_calls[MMOE_MODEL_OPS];
static mmoe_layer_statistics layer_statistics[MMOE_MODEL_ROUTED_LAYERS];
static mmoe_slot slot[AT_LEAST_1(MMOE_MODEL_SLOTS)] OUTLIVES_RESET;
static uint16_t expert_slot[AT_LEAST_1(EXPERTS)];
static uint16_t expert_uses[AT_LEAST_1(EXPERTS)];
static mmoe_page_entry table[AT_LEAST_1(TABLE)];
static mmoe_wanted queue[AT_LEAST_1(MMOE_MODEL_EXPERTS)];
static mmoe_event timeline[AT_LEAST_1(MMOE_MODEL_TIMELINE)];

const mmoe_memory mmoe_the_memory = {
    .arena = arena,
    .kv = kv,
    .slots = slots,
    .tokens = tokens,
    .routes = routes,
    .op_ticks = op_ticks,
    .op_calls = op_calls,
    .layer_statistics = layer_statistics,
    .slot = slot,
    .expert_slot = expert_slot,
    .expert_uses = expert_uses,
    .table = table,
    .queue = queue,
    .timeline = timeline,
    .timeline_events = MMOE_MODEL_TIMELINE,
};
