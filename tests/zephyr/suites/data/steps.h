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
    0x27b2d7ff, 0xcf4d32c5, 0x951f275e, 0x8fa711d5, 0x6c110484, 0x8b31ea61, 0x43903b15, 0xaa801dee, 0x08b430dd, 0xe1363b3a, 0xdd42f6a6, 0x61fcc9f6,
    0x7a223b6a, 0x60bfe1ac, 0x37c03e0f, 0xf12ebad9, 0xca27e7d8, 0x74b0d6c7, 0xb746e4a4, 0xc2c4c492, 0x1a527fb8, 0x28d327a0, 0x9b4c651b, 0x7e580b5f,
};
#elif STEPS_BITS == 4
static const uint32_t step_crc[STEPS] = {
    0x8c8ee4ef, 0x2d4c9e81, 0xde3b3212, 0xfa002fc7, 0x192ec759, 0x6a0e4cd3, 0x7731ff69, 0xd21cee9f, 0x4b3397ff, 0xe830f383, 0xba66d1ed, 0x451a5477,
    0xdd9be232, 0xd9df53ce, 0xa003b5df, 0xbeb70d9c, 0x4d7a67f2, 0xc62b741b, 0x8e03dcb7, 0x5d9fa333, 0xdb8ce0ab, 0x8eb18b89, 0xd868066e, 0xcfbfe054,
};
#endif
