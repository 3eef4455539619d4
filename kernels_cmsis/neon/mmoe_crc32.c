/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_neon.h"

#define mmoe_crc32 crc32_plain
static uint32_t crc32_plain(uint32_t crc, const void *data, uint32_t length);
#include "../reference/mmoe_crc32.c"
#undef mmoe_crc32

#define STEP(size, register, value) __asm__("crc32" size " %w0, %w0, %" register "1" : "+r"(crc) : "r"(value))

/* The instructions of Armv8's CRC extension have this very polynomial. */
MMOE_CRC static uint32_t crc32_instructions(uint32_t crc, const void *data, uint32_t length) {
    const uint8_t *p = data;
    crc = ~crc;
    for (; length >= 8; length -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        STEP("x", "x", word);
    }
    for (; length; length--, p++) STEP("b", "w", *p);
    return ~crc;
}

uint32_t mmoe_crc32(uint32_t crc, const void *data, uint32_t length) {
    return mmoe_neon_has(MMOE_NEON_CRC) ? crc32_instructions(crc, data, length) : crc32_plain(crc, data, length);
}
