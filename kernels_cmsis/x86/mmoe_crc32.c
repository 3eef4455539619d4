/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_x86.h"

#define mmoe_crc32 crc32_plain
static uint32_t crc32_plain(uint32_t crc, const void *data, uint32_t length);
#include "../reference/mmoe_crc32.c"
#undef mmoe_crc32

/* Gopal et al., "Fast CRC computation using PCLMULQDQ", Intel 2009: 16 bytes times x^512 or x^128 are the low half times
 * .low plus the high half times .high, which leave the same remainder 64 or 16 bytes further on. Reflected, and divided by x:
 * a product of reflected numbers is x times too large. Derived again in tests/kernels/test_crc.py. */
static const struct {
    uint64_t low, high;
} by_512 = {0x653D982200000000, 0xCAD38E8F00000000}, by_128 = {0x65673B4600000000, 0x9BA54C6F00000000};

MMOE_CLMUL static inline __m128i fold(__m128i chunk, __m128i by, __m128i onto) {
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(chunk, by, 0x00), _mm_clmulepi64_si128(chunk, by, 0x11)), onto);
}

/* Replaces whole chunks by one that leaves the same remainder. length >= 64; returns the bytes behind them. */
MMOE_CLMUL static uint32_t fold_chunks(uint32_t start, const uint8_t *p, uint32_t length, uint8_t chunk[16]) {
    const __m128i far = mmoe_load16(&by_512), near = mmoe_load16(&by_128);
    __m128i a = _mm_xor_si128(mmoe_load16(p), _mm_cvtsi32_si128((int32_t)start));
    __m128i b = mmoe_load16(p + 16), c = mmoe_load16(p + 32), d = mmoe_load16(p + 48);
    for (p += 64, length -= 64; length >= 64; p += 64, length -= 64) {
        a = fold(a, far, mmoe_load16(p));
        b = fold(b, far, mmoe_load16(p + 16));
        c = fold(c, far, mmoe_load16(p + 32));
        d = fold(d, far, mmoe_load16(p + 48));
    }
    a = fold(fold(fold(a, near, b), near, c), near, d);
    for (; length >= 16; p += 16, length -= 16) a = fold(a, near, mmoe_load16(p));
    _mm_storeu_si128((__m128i *)(void *)chunk, a);
    return length;
}

uint32_t mmoe_crc32(uint32_t crc, const void *data, uint32_t length) {
    if (length < 64 || !mmoe_x86_has(MMOE_X86_CLMUL)) return crc32_plain(crc, data, length);
    uint8_t chunk[16];
    const uint32_t rest = fold_chunks(~crc, data, length, chunk);
    return crc32_plain(crc32_plain(~0u, chunk, 16), (const uint8_t *)data + (length - rest), rest);
}
