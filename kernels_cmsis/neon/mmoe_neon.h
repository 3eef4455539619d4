/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_NEON_H
#define MMOE_NEON_H

#include <arm_neon.h>
#include <stdatomic.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include "../reference/mmoe_private.h"

/* Instructions that only some AArch64 have; a kernel asks for them each time it runs. */
enum { MMOE_NEON_DOT = 1, MMOE_NEON_CRC = 2, MMOE_NEON_I8MM = 4 };

/* Which of them a build may use; 0 leaves those that every AArch64 has. */
#ifndef MMOE_NEON_ALLOWED
#define MMOE_NEON_ALLOWED (MMOE_NEON_DOT | MMOE_NEON_CRC | MMOE_NEON_I8MM)
#endif

#if defined(__clang__)
#define MMOE_DOT __attribute__((target("dotprod")))
#define MMOE_CRC __attribute__((target("crc")))
#define MMOE_I8MM __attribute__((target("i8mm")))
#else
#define MMOE_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#define MMOE_CRC __attribute__((target("+crc")))
#define MMOE_I8MM __attribute__((target("arch=armv8.2-a+i8mm")))
#endif

static inline uint32_t mmoe_neon_ask(void) {
    uint32_t found = 1u << 31;
#if defined(__linux__) /* bits: Linux, Documentation/arch/arm64/elf_hwcaps.rst and asm/hwcap.h */
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    if (first & 1ul << 20) found |= MMOE_NEON_DOT;
    if (first & 1ul << 7) found |= MMOE_NEON_CRC;
    if (second & 1ul << 13) found |= MMOE_NEON_I8MM;
#else /* what the compiler was told */
#ifdef __ARM_FEATURE_DOTPROD
    found |= MMOE_NEON_DOT;
#endif
#ifdef __ARM_FEATURE_CRC32
    found |= MMOE_NEON_CRC;
#endif
#ifdef __ARM_FEATURE_MATMUL_INT8
    found |= MMOE_NEON_I8MM;
#endif
#endif
    return found;
}

static inline int mmoe_neon_has(uint32_t feature) {
    static atomic_uint known;
    uint32_t found = atomic_load_explicit(&known, memory_order_relaxed);
    if (!found) atomic_store_explicit(&known, found = mmoe_neon_ask(), memory_order_relaxed);
    return (found & feature & MMOE_NEON_ALLOWED) != 0;
}

/* The sums of each of four vectors */
static inline int32x4_t mmoe_add_lanes(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

#endif
