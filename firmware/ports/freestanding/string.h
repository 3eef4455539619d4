/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of <string.h> that firmware and kernels use; no C library is linked into an image. */
#ifndef MMOE_STRING_H
#define MMOE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *a, const void *b, size_t length);

/* -ffreestanding makes these plain calls; as builtins, short copies of constant length become loads and stores. */
#define memcpy(to, from, length) __builtin_memcpy(to, from, length)
#define memset(to, value, length) __builtin_memset(to, value, length)

#endif
