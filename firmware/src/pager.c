/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts from the image into slots. Reads start in the order the experts are wanted, MMOE_READS of them at once, as far ahead as
 * slots are free; then, with the lowest priority, those that may be wanted soon. A slot the driver may still write to is never
 * given to anything else, however long it takes. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_CHECK_BYTES
#define MMOE_CHECK_BYTES 1024u /* of CRC-32 at once, then the next read may be due */
#endif

static struct {
    const mmoe_model *model;
    const mmoe_memory *memory;
    mmoe_statistics *statistics;
    mmoe_layer_statistics *layer; /* whose experts were wanted last */
    uint16_t loading[MMOE_READS]; /* slots, in the order their reads were started */
    uint64_t started_at[MMOE_READS]; /* of these reads; of the first one, when the one before it ended if that was later */
    uint32_t loads;                  /* reads that the driver has */
    mmoe_status failure; /* of a read that the pass needs, in the background: MMOE_OK while there is none */
    uint16_t checking;     /* slot whose CRC-32 is under way: crc is that of its first `checked` bytes */
    uint32_t checked, crc;
    uint32_t started, queued; /* of memory->queue; those before `started` are loading or loaded */
    uint16_t later[MMOE_MAX_TOP_K];
    uint32_t later_started, later_queued;
} pager;

static uint8_t *slot_page(uint32_t slot) { return pager.memory->slots + (size_t)slot * pager.model->expert_bytes; }

static uint32_t expert_count(void) { return (uint32_t)pager.model->layers * pager.model->experts; }

static mmoe_place place_of(uint16_t expert) {
    if (pager.model->slots == 0) return MMOE_PLACE_IN_PLACE;
    return pager.model->expert_place ? (mmoe_place)pager.model->expert_place[expert] : MMOE_PLACE_CACHED;
}

static mmoe_layer_statistics *layer_of(uint16_t expert) { return &pager.statistics->layer[expert / pager.model->experts]; }

/* CRC-32 of more bytes of an expert's page */
static uint32_t check_more(uint16_t expert, uint32_t crc, const uint8_t *data, uint32_t length) {
    const uint64_t start = mmoe_port_ticks();
    crc = mmoe_crc32(crc, data, length);
    const uint64_t end = mmoe_port_ticks();
    pager.statistics->check_ticks += end - start;
    (void)expert; /* but for the timeline */
    MMOE_NOTE_AT(start, MMOE_EVENT_CHECK, expert);
    MMOE_NOTE_AT(end, MMOE_EVENT_CHECK_END, expert);
    return crc;
}

#ifdef MMOE_RETAINED
static int may_hold(uint32_t s, uint16_t expert) {
    const uint16_t *first = pager.model->first_slot;
    const uint32_t layer = expert / pager.model->experts;
    return place_of(expert) != MMOE_PLACE_IN_PLACE && (!first || (s >= first[layer] && s < first[layer + 1]));
}

/* Slots whose memory has outlived a reset, their pages still right: they need not be read again. */
static void take_over_slots(void) {
    for (uint32_t s = 0; s < pager.model->slots; s++) {
        mmoe_slot *slot = &pager.memory->slot[s];
        const uint16_t expert = slot->expert;
        if ((slot->whole ^ expert) != 0xFFFFu || expert >= expert_count() || !may_hold(s, expert)) continue;
        if (pager.memory->expert_slot[expert] != MMOE_NO_SLOT) continue;
        if (check_more(expert, 0, slot_page(s), pager.model->expert_bytes) != mmoe_image_entry(expert).crc) continue;
        *slot = (mmoe_slot){.expert = expert, .state = MMOE_SLOT_READY, .whole = slot->whole};
        pager.memory->expert_slot[expert] = (uint16_t)s;
        pager.statistics->kept++;
    }
}
#endif

mmoe_status mmoe_pager_open(const mmoe_model *model, const mmoe_memory *memory, mmoe_statistics *statistics) {
    memset(&pager, 0, sizeof pager);
    pager.model = model;
    pager.memory = memory;
    pager.statistics = statistics;
    pager.layer = statistics->layer;
    pager.checking = MMOE_NO_SLOT;
    mmoe_policy_open(model, memory);
    mmoe_pager_empty();
    if (!model->experts) return MMOE_OK;
    const mmoe_status status = mmoe_image_open(model, memory);
#ifdef MMOE_RETAINED
    if (status == MMOE_OK) take_over_slots();
#endif
    return status;
}

static uint16_t first_loading(void) { return pager.loads ? pager.loading[0] : MMOE_NO_SLOT; }

static int is_loading(uint32_t s) {
    for (uint32_t i = 0; i < pager.loads; i++)
        if (pager.loading[i] == s) return 1;
    return 0;
}

static void forget_queues(void) { pager.queued = pager.started = pager.later_queued = pager.later_started = 0; }

void mmoe_pager_empty(void) {
    if (!pager.model) return; /* it was never opened: the model is another runtime's */
    for (uint32_t e = 0; e < expert_count(); e++) pager.memory->expert_slot[e] = MMOE_NO_SLOT;
    for (uint32_t s = 0; s < pager.model->slots; s++) {
        mmoe_slot *slot = &pager.memory->slot[s];
        slot->needed = 0;
        if (is_loading(s))
            pager.memory->expert_slot[slot->expert] = (uint16_t)s; /* the driver still has it */
        else
            slot->state = MMOE_SLOT_EMPTY;
    }
    forget_queues();
    mmoe_policy_forget();
}

/* --- slots --------------------------------------------------------------------------------------------------------------- */

void mmoe_pager_begin_pass(void) {
    for (uint32_t s = 0; s < pager.model->slots; s++) pager.memory->slot[s].needed = 0;
    forget_queues();
    mmoe_policy_begin_pass();
}

/* A slot to load an expert into, empty if there is one; MMOE_NO_SLOT when all are needed. */
static uint32_t find_slot(uint16_t expert) {
    const uint16_t *first = pager.model->first_slot;
    const uint32_t layer = first ? expert / pager.model->experts : 0, end = first ? first[layer + 1] : pager.model->slots;
    uint32_t best = MMOE_NO_SLOT;
    uint64_t highest = 0;
    for (uint32_t s = first ? first[layer] : 0; s < end; s++) {
        const mmoe_slot *slot = &pager.memory->slot[s];
        if (slot->state == MMOE_SLOT_EMPTY) return s;
        if (slot->needed || slot->state == MMOE_SLOT_LOADING || place_of(slot->expert) == MMOE_PLACE_RESIDENT) continue;
        const uint64_t rank = mmoe_policy_rank(slot);
        if (best != MMOE_NO_SLOT && rank <= highest) continue;
        best = s;
        highest = rank;
    }
    return best;
}

static void drop_slot(uint32_t s) {
    mmoe_slot *slot = &pager.memory->slot[s];
    pager.memory->expert_slot[slot->expert] = MMOE_NO_SLOT;
    slot->state = MMOE_SLOT_EMPTY;
    slot->needed = 0;
}

/* --- reads ---------------------------------------------------------------------------------------------------------------- */

static void note_failure(int needed, mmoe_status status) {
    pager.statistics->load_errors++;
    if (!needed) return; /* a guess, or of a pass that is over: the error comes back if the expert is wanted */
    pager.failure = status;
    pager.queued = pager.started; /* the pass is lost: read nothing more for it */
}

/* Starts to read an expert into slot s; whether the driver took it. */
static int start_read(uint32_t s, uint16_t expert, uint32_t used, int needed) {
    mmoe_slot *slot = &pager.memory->slot[s];
    if (slot->state != MMOE_SLOT_EMPTY) drop_slot(s);
    if (pager.checking == s) pager.checking = MMOE_NO_SLOT;
    slot->whole = slot->expert; /* no more, from before the driver writes */
    const uint64_t start = mmoe_port_ticks();
    MMOE_NOTE_AT(start, MMOE_EVENT_READ, expert);
    const mmoe_status status =
        mmoe_image_is_late() ? MMOE_E_PAGE_TIMEOUT
                             : mmoe_port_read_start(slot_page(s), mmoe_image_entry(expert).offset, pager.model->expert_bytes);
    pager.layer->stall_ticks += mmoe_port_ticks() - start; /* a driver that blocks does all its work here */
    if (status != MMOE_OK) {
        note_failure(needed, status);
        return 0;
    }
    *slot = (mmoe_slot){
        .used = used,
        .expert = expert,
        .state = MMOE_SLOT_LOADING,
        .needed = (uint8_t)needed,
        .ahead = (uint8_t)!needed,
    };
    pager.memory->expert_slot[expert] = (uint16_t)s;
    pager.started_at[pager.loads] = start;
    pager.loading[pager.loads++] = (uint16_t)s;
    if (!needed) pager.statistics->prefetched++;
    return 1;
}

/* Starts the next read, if there is one and a slot for it; whether it did. A guess is read alone, so that no expert that is wanted
 * waits for more than one. */
static int start_next(void) {
    if (pager.started < pager.queued) {
        const mmoe_wanted next = pager.memory->queue[pager.started];
        const uint32_t s = find_slot(next.expert);
        if (s == MMOE_NO_SLOT) return 0;
        pager.started++;
        return start_read(s, next.expert, next.used, 1);
    }
    if (pager.loads == 0 && pager.later_started < pager.later_queued) {
        const uint16_t expert = pager.later[pager.later_started++];
        const uint32_t s = pager.memory->expert_slot[expert] == MMOE_NO_SLOT ? find_slot(expert) : MMOE_NO_SLOT;
        return s != MMOE_NO_SLOT && start_read(s, expert, mmoe_policy_now(), 0);
    }
    return 0;
}

/* The first read is over; done: as mmoe_port_read_done says it. */
static void end_read(int done) {
    const uint32_t s = pager.loading[0];
    const uint64_t start = pager.started_at[0], end = done < 0 ? mmoe_port_ticks() : mmoe_port_read_ended();
    mmoe_slot *slot = &pager.memory->slot[s];
    mmoe_layer_statistics *layer = layer_of(slot->expert);
    pager.loads--;
    for (uint32_t i = 1; i < MMOE_READS; i++) {
        pager.loading[i - 1] = pager.loading[i];
        pager.started_at[i - 1] = pager.started_at[i];
    }
    if (pager.loads && pager.started_at[0] < end) pager.started_at[0] = end;
    MMOE_NOTE_AT(end, MMOE_EVENT_READ_END, slot->expert);
    if (done < 0) {
        const int needed = slot->needed;
        drop_slot(s);
        note_failure(needed, (mmoe_status)done);
    } else {
        slot->state = MMOE_SLOT_ARRIVED;
        layer->bytes_loaded += pager.model->expert_bytes;
        if (end > start) layer->load_ticks += end - start; /* a driver may end a later read before an earlier one */
    }
}

void mmoe_pager_poll(void) {
    for (int done = 1; pager.loads && done;) {
        done = mmoe_port_read_done();
        if (done) end_read(done);
    }
    while (pager.loads < MMOE_READS && start_next()) {}
}

/* --- what a token asks for ----------------------------------------------------------------------------------------------- */

/* Counts the use of an expert that has a slot; whether it is there already. */
static uint8_t use_slot(uint32_t s, uint32_t used) {
    mmoe_slot *slot = &pager.memory->slot[s];
    slot->used = used;
    slot->needed = 1;
    pager.statistics->prefetch_used += slot->ahead;
    slot->ahead = 0;
    return slot->state != MMOE_SLOT_LOADING;
}

void mmoe_pager_want(const uint16_t *expert, uint32_t count, uint8_t *hit) {
    forget_queues();
    if (pager.loads) mmoe_pager_poll(); /* a guess, or left over from a pass that failed */
    pager.failure = MMOE_OK;
    if (count) {
        pager.layer = layer_of(expert[0]);
        mmoe_policy_begin_layer(expert[0] / pager.model->experts);
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t e = expert[i];
        const uint32_t s = pager.memory->expert_slot[e], used = mmoe_policy_use(e);
        if (place_of(e) == MMOE_PLACE_IN_PLACE) {
            hit[i] = 1;
        } else if (s != MMOE_NO_SLOT) {
            hit[i] = use_slot(s, used);
        } else {
            pager.memory->queue[pager.queued++] = (mmoe_wanted){.used = used, .expert = e};
            hit[i] = 0;
        }
        if (hit[i])
            pager.layer->hits++;
        else
            pager.layer->misses++;
    }
    if (pager.queued) mmoe_pager_poll();
}

void mmoe_pager_want_later(const uint16_t *expert, uint32_t count) {
    pager.later_queued = pager.later_started = 0;
    for (uint32_t i = 0; i < count && i < MMOE_MAX_TOP_K; i++)
        if (place_of(expert[i]) != MMOE_PLACE_IN_PLACE) pager.later[pager.later_queued++] = expert[i];
    mmoe_pager_poll();
}

static mmoe_status refuse_page(void) {
    pager.statistics->load_errors++;
    return MMOE_E_PAGE_CRC;
}

/* Experts used where they lie: checked when they are first used. */
static mmoe_status take_in_place(uint16_t expert, const uint8_t **page) {
    const mmoe_page_entry entry = mmoe_image_entry(expert);
    *page = pager.model->expert_image + entry.offset;
    if (pager.memory->expert_slot[expert] != MMOE_NO_SLOT) return MMOE_OK;
    if (check_more(expert, 0, *page, pager.model->expert_bytes) != entry.crc) return refuse_page();
    pager.memory->expert_slot[expert] = 0;
    return MMOE_OK;
}

/* Goes on with the CRC-32 of slot s, of which `arrived` bytes are there; whether there was anything to do. */
static int check_arrived(uint32_t s, uint32_t arrived) {
    if (pager.checking != s) {
        pager.checking = (uint16_t)s;
        pager.checked = pager.crc = 0;
    }
    const uint32_t left = arrived - pager.checked, more = left < MMOE_CHECK_BYTES ? left : MMOE_CHECK_BYTES;
    if (more < MMOE_CHECK_BYTES && arrived < pager.model->expert_bytes) return 0; /* little by little costs more than it wins */
    if (more == 0) return 0;
    pager.crc = check_more(pager.memory->slot[s].expert, pager.crc, slot_page(s) + pager.checked, more);
    pager.checked += more;
    return 1;
}

typedef enum { PAGE_CHECKING, PAGE_AWAITED, PAGE_THERE } page_state;

/* Checks more of an expert's page, if more of it is there; PAGE_THERE: the first `bytes` bytes are, or all and checked. */
static page_state look_at(uint16_t expert, uint32_t bytes) {
    const uint32_t s = pager.memory->expert_slot[expert], all = pager.model->expert_bytes;
    if (s == MMOE_NO_SLOT) return PAGE_AWAITED;
    const int loads = pager.memory->slot[s].state == MMOE_SLOT_LOADING;
    const uint32_t arrived = !loads ? all : s == first_loading() ? mmoe_port_read_progress() : 0;
    if (check_arrived(s, arrived)) return PAGE_CHECKING;
    return !loads || (bytes < all && arrived >= bytes) ? PAGE_THERE : PAGE_AWAITED;
}

/* Waits for the first bytes of an expert's page, and checks what arrives meanwhile. Only the time without anything to do is a
 * stall. */
static mmoe_status wait_for(uint16_t expert, uint32_t bytes) {
    uint64_t begin = mmoe_port_ticks(), last = begin;
    uint16_t loading = first_loading();
    page_state state = PAGE_CHECKING;
    mmoe_status status = MMOE_OK;
    while (state != PAGE_THERE) {
        mmoe_pager_poll();
        const uint64_t now = mmoe_port_ticks();
        const page_state before = state;
        if (before == PAGE_AWAITED) pager.layer->stall_ticks += now - last;
        last = now;
        state = look_at(expert, bytes);
        if (loading != first_loading()) { /* another read has begun, or has the driver for itself */
            loading = first_loading();
            begin = now;
        } else if (state == PAGE_AWAITED && now - begin > mmoe_image_timeout_ticks()) {
            pager.statistics->load_errors++;
            status = MMOE_E_PAGE_TIMEOUT;
            state = PAGE_THERE;
        }
        if (pager.failure != MMOE_OK) {
            status = pager.failure;
            state = PAGE_THERE;
        }
        if (before != PAGE_AWAITED && state == PAGE_AWAITED) MMOE_NOTE_AT(now, MMOE_EVENT_WAIT, expert);
        if (before == PAGE_AWAITED && state != PAGE_AWAITED) MMOE_NOTE_AT(now, MMOE_EVENT_WAIT_END, expert);
    }
    return status;
}

const uint8_t *mmoe_pager_ready(uint16_t expert) {
    const uint32_t s = pager.memory->expert_slot[expert];
    if (s == MMOE_NO_SLOT) return NULL;
    if (place_of(expert) == MMOE_PLACE_IN_PLACE) return pager.model->expert_image + mmoe_image_entry(expert).offset;
    return pager.memory->slot[s].state == MMOE_SLOT_READY ? slot_page(s) : NULL;
}

mmoe_status mmoe_pager_take(uint16_t expert, uint32_t bytes, const uint8_t **page) {
    if (place_of(expert) == MMOE_PLACE_IN_PLACE) return take_in_place(expert, page);
    uint32_t s = pager.memory->expert_slot[expert];
    if (s == MMOE_NO_SLOT || pager.memory->slot[s].state != MMOE_SLOT_READY) {
        const mmoe_status status = wait_for(expert, bytes);
        if (status != MMOE_OK) return status;
        s = pager.memory->expert_slot[expert];
        if (pager.checked == pager.model->expert_bytes) {
            if (pager.crc != mmoe_image_entry(expert).crc) {
                drop_slot(s);
                return refuse_page();
            }
            pager.memory->slot[s].state = MMOE_SLOT_READY;
            pager.memory->slot[s].whole = (uint16_t)(expert ^ 0xFFFFu);
        }
    }
    *page = slot_page(s);
    return MMOE_OK;
}

int mmoe_pager_holds(uint16_t expert) {
    return place_of(expert) != MMOE_PLACE_IN_PLACE && pager.memory->expert_slot[expert] != MMOE_NO_SLOT;
}

void mmoe_pager_release(uint16_t expert) {
    if (place_of(expert) != MMOE_PLACE_IN_PLACE) pager.memory->slot[pager.memory->expert_slot[expert]].needed = 0;
}

mmoe_status mmoe_pager_settle(void) {
    const uint64_t begin = mmoe_port_ticks();
    forget_queues();
    while (pager.loads) {
        mmoe_pager_poll();
        if (mmoe_port_ticks() - begin > mmoe_image_timeout_ticks()) return MMOE_E_PAGE_TIMEOUT;
    }
    return MMOE_OK;
}
