/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

#define mmoe_crc32 crc32_plain
static uint32_t crc32_plain(uint32_t crc, const void *data, uint32_t length);
#include "../reference/mmoe_crc32.c"
#undef mmoe_crc32

/* A message is a polynomial, its first bit (bit 0 of byte 0) the highest power; its CRC is the remainder modulo P. A chunk of
 * 16 bytes may be replaced by any other bytes further on that leave the same remainder (Gopal et al., "Fast CRC computation
 * using PCLMULQDQ", Intel 2009). Helium multiplies polynomials of 16 bits only, so that a constant takes two: x^128 times a
 * half word h is h NEAR in the next chunk plus h FAR in the one after it, NEAR + x^-128 FAR = x^128 having one solution of
 * degree below 16. Low and high halves of a word have their own; a product of reflected numbers is x times too large, which
 * the constants take out. Derived again in tests/kernels/test_crc.py. */
#define NEAR 0x836B2C5Au
#define FAR 0xDFF0E098u

/* The last two chunks become h LAST[0] + x^16 h LAST[1], h being each of their halves; (2, chunk, word) */
static const uint32_t last[2][2][4] = {
    {{0x01B53C60, 0x8125E71D, 0x65671728, 0xAE68EF52}, {0x9BA59D0F, 0xCCAAEFC2, 0xB8BCCB5C, 0x0000191B}},
    {{0xFD1DE308, 0x6527A697, 0x3B4664C0, 0x9191B6E1}, {0x4C6FE176, 0x009E6B3E, 0x6765D3A5, 0x00013141}},
};

/* q0 the chunk; q1, q3 what comes to it and to the next one; q4 NEAR, q5 FAR */
#define CHUNK                          \
    "vldrb.8 q0, [%[p]], #16\n"        \
    "veor q0, q0, q1\n"                \
    "vmullb.p16 q2, q0, q4\n"          \
    "vmullt.p16 q1, q0, q4\n"          \
    "veor q3, q3, q2\n"                \
    "vmullb.p16 q2, q0, q5\n"          \
    "veor q1, q1, q3\n"                \
    "vmullt.p16 q3, q0, q5\n"          \
    "veor q3, q3, q2\n"
#define LAST                           \
    "vldrw.32 q1, [%[c]], #16\n"       \
    "vldrw.32 q2, [%[c]], #16\n"       \
    "vmullb.p16 q5, q0, q1\n"          \
    "vmullt.p16 q1, q0, q1\n"          \
    "veor q5, q5, q1\n"                \
    "vmullb.p16 q1, q3, q2\n"          \
    "vmullt.p16 q2, q3, q2\n"          \
    "veor q5, q5, q1\n"                \
    "veor q5, q5, q2\n"                \
    "vstrw.32 q5, [%[to]], #16\n"

/* The CRC register, which starts as `start`, behind whole chunks; chunks >= 2 */
static uint32_t fold_chunks(uint32_t start, const uint8_t *p, uint32_t chunks) {
    uint32_t halves[8], *to = halves;
    const uint32_t *c = last[0][0];
    __asm__ volatile("vdup.32 q4, %[near]\n"
                     "vdup.32 q5, %[far]\n"
                     "vmov.i32 q1, #0\n"
                     "vmov.i32 q3, #0\n"
                     "vmov.32 q1[0], %[start]\n"
                     "wls lr, %[pairs], 2f\n"
                     "1:\n" CHUNK CHUNK
                     "le lr, 1b\n"
                     "2:\n"
                     "wls lr, %[odd], 4f\n"
                     "3:\n" CHUNK
                     "le lr, 3b\n"
                     "4:\n"
                     "vldrb.8 q0, [%[p]], #16\n"
                     "veor q0, q0, q1\n"
                     "vldrb.8 q2, [%[p]], #16\n"
                     "veor q3, q3, q2\n" LAST LAST
                     : [p] "+l"(p), [c] "+l"(c), [to] "+l"(to)
                     : [near] "r"(NEAR), [far] "r"(FAR), [start] "r"(start), [pairs] "r"(chunks / 2 - 1), [odd] "r"(chunks % 2)
                     : "q0", "q1", "q2", "q3", "q4", "q5", "lr", "cc", "memory");
    const uint32_t high = halves[4] ^ halves[5] ^ halves[6] ^ halves[7];
    return halves[0] ^ halves[1] ^ halves[2] ^ halves[3] ^ ~crc32_plain(~high, "\0\0", 2); /* times x^16 */
}

uint32_t mmoe_crc32(uint32_t crc, const void *data, uint32_t length) {
    const uint8_t *p = data;
    const uint32_t whole = length / 16 * 16;
    if (whole < 32) return crc32_plain(crc, data, length);
    return crc32_plain(~fold_chunks(~crc, p, whole / 16), p + whole, length % 16);
}
