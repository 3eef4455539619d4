/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_private.h"

static uint32_t mix(uint32_t h) {
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    return h ^ h >> 16;
}

/* Integers that order as floats do; both zeros are one number. */
static uint32_t order_of(float x) {
    const uint32_t bits = mmoe_bits(x) == 0x80000000u ? 0 : mmoe_bits(x);
    return bits ^ (bits >> 31 ? 0xFFFFFFFFu : 0x80000000u);
}

/* Kept are the logits above `least`, and the first `ties` of those that equal it. */
typedef struct { uint32_t least, ties; } kept_set;

/* The count-th largest of z by bisection: no memory is needed. 1 <= count <= n */
static kept_set keep_largest(const float *z, uint32_t n, uint32_t count) {
    uint32_t least = 0, above = 0, equal = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        uint32_t reached = 0;
        for (uint32_t i = 0; i < n; i++) reached += order_of(z[i]) >= (least | bit);
        if (reached >= count) least |= bit;
        if (reached == count) break; /* they all are kept, however they order */
    }
    for (uint32_t i = 0; i < n; i++) {
        above += order_of(z[i]) > least;
        equal += order_of(z[i]) == least;
    }
    return (kept_set){least, equal < count - above ? equal : count - above};
}

uint32_t mmoe_sample_f32(const float *z, uint32_t n, const mmoe_sampling *sampling, uint32_t position) {
    const uint32_t count = sampling->top_k && sampling->top_k < n ? sampling->top_k : n;
    const kept_set kept = count < n ? keep_largest(z, n, count) : (kept_set){0, n};
    const float largest = z[mmoe_argmax_f32(z, n)], inverse = 1.0f / sampling->temperature;
    uint32_t shift = 31;
    for (uint32_t left = n; left; left >>= 1) shift--;
    if (shift > 22) shift = 22;
    const float one = (float)(int32_t)(1u << shift);
    uint32_t target = 0;
    for (uint32_t pass = 0; pass < 2; pass++) { /* the sum of all weights, then up to the drawn one */
        uint32_t sum = 0, ties = kept.ties;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t order = order_of(z[i]);
            if (order < kept.least || (order == kept.least && ties == 0)) continue;
            if (order == kept.least) ties--;
            sum += (uint32_t)mmoe_rint(mmoe_exp_f32(mmoe_scalar(mmoe_scalar(z[i] - largest) * inverse)) * one);
            if (pass && sum > target) return i;
        }
        const uint32_t random = mix(mix(sampling->seed) + (position + 1) * 0x9E3779B9u);
        target = (uint32_t)((uint64_t)random * sum >> 32);
    }
    return n - 1; /* not reached: the target is below the sum */
}
