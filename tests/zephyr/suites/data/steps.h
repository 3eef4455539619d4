/* SPDX-License-Identifier: Apache-2.0
 *
 * Made by tests/zephyr/make_suite_data.py. Do not edit. */
#include <stdint.h>
enum { STEPS = 24 };
static const uint16_t step_token[STEPS] = {
    257, 171, 187, 244, 158, 211, 227, 63, 17, 83, 79, 237,
    248, 4, 137, 223, 38, 217, 35, 128, 222, 84, 94, 77,
};
#if STEPS_BITS == 8
static const uint32_t step_crc[STEPS] = {
    0xa1d6c885, 0x0c79cb2f, 0xd9d571e4, 0xc2427ea5, 0xeb5c563f, 0x385a72d7, 0xc831dad3, 0xd13b6bae, 0x4f2390b4, 0x64ebaf65, 0x415e7db5, 0x77b226ea,
    0x8e550e1b, 0xe5f0e94c, 0x3c88927c, 0x9187586c, 0xef2d7e8f, 0x62396d19, 0x1dcfb02d, 0x03d7a181, 0x238d68d7, 0x0146382c, 0xba185b02, 0x7d114d9b,
};
#elif STEPS_BITS == 4
static const uint32_t step_crc[STEPS] = {
    0x892971de, 0xaf4b7717, 0xc7040194, 0x46cf3e14, 0x5f88436e, 0x7b10adf4, 0x1b96c5a0, 0x20544ff5, 0xb2835e87, 0xede06506, 0x8dd5e297, 0xc78d52fc,
    0xcc9a840e, 0x1e8540aa, 0x091e5de7, 0xc2f2f4c9, 0xae360e6b, 0x2e703059, 0xadf2792c, 0x32b3e2b7, 0x5fce03cd, 0x8df9872c, 0x887bd54f, 0xa60668b5,
};
#endif
