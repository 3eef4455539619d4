/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory functions that compilers call on their own, and their names in the Arm run-time ABI. */
#include <stdint.h>
#include <string.h>

#undef memcpy
#undef memset

/* Keeps the compiler from seeing that a loop is the function it stands in, and from calling that. */
#define KEEP_LOOP() __asm__ volatile("" ::: "memory")

static int are_words(const void *a, const void *b) { return (((uintptr_t)a | (uintptr_t)b) & 3) == 0; }

/* Rising addresses: right for memmove too when `to` lies below `from`. */
static void copy_up(uint8_t *to, const uint8_t *from, size_t length) {
    if (are_words(to, from)) {
        uint32_t *t = (uint32_t *)(void *)to;
        const uint32_t *f = (const uint32_t *)(const void *)from;
        for (; length >= 16; length -= 16, t += 4, f += 4) {
            const uint32_t a = f[0], b = f[1], c = f[2], d = f[3];
            t[0] = a, t[1] = b, t[2] = c, t[3] = d;
            KEEP_LOOP();
        }
        for (; length >= 4; length -= 4) {
            *t++ = *f++;
            KEEP_LOOP();
        }
        to = (uint8_t *)t;
        from = (const uint8_t *)f;
    }
    while (length--) {
        *to++ = *from++;
        KEEP_LOOP();
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    copy_up(to, from, length);
    return to;
}

void *memmove(void *to, const void *from, size_t length) {
    if ((uintptr_t)to <= (uintptr_t)from) {
        copy_up(to, from, length);
        return to;
    }
    uint8_t *t = (uint8_t *)to + length;
    const uint8_t *f = (const uint8_t *)from + length;
    while (length--) {
        *--t = *--f;
        KEEP_LOOP();
    }
    return to;
}

void *memset(void *to, int value, size_t length) {
    uint8_t *t = to;
    if (are_words(t, t)) {
        const uint32_t word = 0x01010101u * (uint8_t)value;
        for (; length >= 4; length -= 4, t += 4) {
            *(uint32_t *)(void *)t = word;
            KEEP_LOOP();
        }
    }
    while (length--) {
        *t++ = (uint8_t)value;
        KEEP_LOOP();
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t length) {
    const uint8_t *x = a, *y = b;
    for (; length--; x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}

#if defined(__ARM_EABI__)

#define RUN_TIME_COPY(name, function)                     \
    void name(void *to, const void *from, size_t length); \
    void name(void *to, const void *from, size_t length) { function(to, from, length); }
#define RUN_TIME_SET(name)                             \
    void name(void *to, size_t length, int value);     \
    void name(void *to, size_t length, int value) { memset(to, value, length); }
#define RUN_TIME_CLEAR(name)              \
    void name(void *to, size_t length);   \
    void name(void *to, size_t length) { memset(to, 0, length); }

RUN_TIME_COPY(__aeabi_memcpy, memcpy)
RUN_TIME_COPY(__aeabi_memcpy4, memcpy)
RUN_TIME_COPY(__aeabi_memcpy8, memcpy)
RUN_TIME_COPY(__aeabi_memmove, memmove)
RUN_TIME_COPY(__aeabi_memmove4, memmove)
RUN_TIME_COPY(__aeabi_memmove8, memmove)
RUN_TIME_SET(__aeabi_memset)
RUN_TIME_SET(__aeabi_memset4)
RUN_TIME_SET(__aeabi_memset8)
RUN_TIME_CLEAR(__aeabi_memclr)
RUN_TIME_CLEAR(__aeabi_memclr4)
RUN_TIME_CLEAR(__aeabi_memclr8)

#endif
