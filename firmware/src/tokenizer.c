/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "mmoe_internal.h"

uint32_t mmoe_tokenizer_piece(const uint8_t *text, uint32_t length) {
    uint32_t end = 1;
    while (end < length && text[end] != ' ') end++;
    return end;
}

/* The merge of a pair, or NULL. */
static const mmoe_merge *find_merge(const mmoe_tokenizer *t, mmoe_token left, mmoe_token right) {
    uint32_t low = 0, high = t->merge_count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        const mmoe_merge *m = &t->merges[middle];
        if (m->left == left && m->right == right) return m;
        if (m->left < left || (m->left == left && m->right < right))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

uint32_t mmoe_tokenizer_encode_piece(const mmoe_tokenizer *t, const uint8_t *piece, uint32_t length, mmoe_token *token) {
    for (uint32_t i = 0; i < length; i++) token[i] = t->byte_token[piece[i]];
    for (;;) {
        const mmoe_merge *best = NULL;
        uint32_t at = 0;
        for (uint32_t i = 0; i + 1 < length; i++) {
            const mmoe_merge *m = find_merge(t, token[i], token[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                at = i;
            }
        }
        if (!best) return length;
        token[at] = best->result;
        length--;
        memmove(&token[at + 1], &token[at + 2], (length - at - 1) * sizeof token[0]);
    }
}

int32_t mmoe_tokenizer_encode(const mmoe_tokenizer *t, const uint8_t *text, uint32_t length, mmoe_token *token,
                              uint32_t capacity) {
    uint32_t count = 0;
    while (length) {
        const uint32_t piece = mmoe_tokenizer_piece(text, length);
        if (piece > capacity - count) return MMOE_E_TEXT;
        count += mmoe_tokenizer_encode_piece(t, text, piece, token + count);
        text += piece;
        length -= piece;
    }
    return (int32_t)count;
}

const uint8_t *mmoe_tokenizer_decode(const mmoe_tokenizer *t, uint32_t token, uint32_t *length) {
    *length = 0;
    if (token >= t->vocab_size) return t->text;
    *length = t->text_offset[token + 1] - t->text_offset[token];
    return t->text + t->text_offset[token];
}
