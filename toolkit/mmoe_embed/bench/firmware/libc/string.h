/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of <string.h> the kernels use, for compilers that come without a C library. */
#ifndef MMOE_STRING_H
#define MMOE_STRING_H
#include <stddef.h>
void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);
#endif
