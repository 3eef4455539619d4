/* SPDX-License-Identifier: Apache-2.0
 *
 * memory.c, but one of the large buffers begins as many bytes later as the environment says: ARENA, KV or SLOTS. */
#include <stdlib.h>

#define mmoe_the_memory as_placed
#include "../../../firmware/src/memory.c"
#undef mmoe_the_memory

mmoe_memory mmoe_the_memory;

static uint32_t shift_of(const char *name) {
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void shift(void) {
    mmoe_the_memory = as_placed;
    mmoe_the_memory.arena += shift_of("ARENA");
    mmoe_the_memory.kv += shift_of("KV");
    mmoe_the_memory.slots += shift_of("SLOTS");
}
