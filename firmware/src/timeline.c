/* SPDX-License-Identifier: Apache-2.0
 *
 * What happened when: reads, waits, checks and compute in a ring of events (SPEC.md 8.1), for the timeline of a profile. In a
 * build without MMOE_TIMELINE nothing is recorded and nothing of this is linked but the answer that there is none. */
#include "mmoe_internal.h"

static uint32_t recorded; /* events since the ring was cleared */

void mmoe_timeline_clear(void) { recorded = 0; }

void mmoe_timeline_add(uint64_t ticks, mmoe_event_kind kind, uint32_t argument) {
    const mmoe_memory *memory = &mmoe_the_memory;
    static uint32_t next;
    if (recorded == 0) next = 0;
    memory->timeline[next] = (mmoe_event){.ticks = (uint32_t)ticks, .kind = (uint8_t)kind, .argument = (uint16_t)argument};
    recorded++;
    if (++next == memory->timeline_events) next = 0;
}

uint32_t mmoe_timeline_recorded(void) { return recorded; }

mmoe_event mmoe_timeline_event(uint32_t index) {
    return mmoe_the_memory.timeline[index % mmoe_the_memory.timeline_events];
}
