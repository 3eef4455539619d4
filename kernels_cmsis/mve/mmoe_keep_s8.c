/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_mve.h"

void mmoe_keep_s8(int8_t *keys, int8_t *values, uint32_t context, uint32_t dim, uint32_t position, const int8_t *k,
                  const int8_t *v) {
    static const uint32_t rows[4] = {0, 16, 32, 48}; /* of a tile */
    const uint32_t blocks = MMOE_PAD(dim, 16u) / 16, tiles = (dim + 3) / 4, tile_bytes = 4 * MMOE_PAD(context, 16u);
    keys += position / 4 * 64 * blocks + position % 4 * 16;
    values += position / 16 * 64 + position % 16;
    __asm__ volatile("dls lr, %[blocks]\n"
                     "1:\n"
                     "vldrb.8 q0, [%[k]], #16\n"
                     "vstrb.8 q0, [%[keys]], #64\n"
                     "le lr, 1b\n"
                     "vldrw.32 q1, [%[rows]]\n"
                     "dls lr, %[tiles]\n"
                     "2:\n"
                     "vldrb.u32 q0, [%[v]], #4\n"
                     "vstrb.32 q0, [%[values], q1]\n"
                     "add %[values], %[values], %[tile_bytes]\n"
                     "le lr, 2b\n"
                     : [k] "+l"(k), [keys] "+l"(keys), [v] "+l"(v), [values] "+r"(values)
                     : [blocks] "r"(blocks), [tiles] "r"(tiles), [tile_bytes] "r"(tile_bytes), [rows] "l"(rows)
                     : "q0", "q1", "lr", "cc", "memory");
}
