/* SPDX-License-Identifier: Apache-2.0
 *
 * One stream of bytes carries text and frames (SPEC.md 8). A zero begins a frame and ends it; a damaged frame's end may be
 * the next one's begin. A zero that line noise made must not swallow the command behind it, so what follows a zero is also
 * kept as text as long as it is printable: no frame of a known type is, its second byte is below 0x20. */
#include <string.h>

#include "mmoe_internal.h"

static void begin_frame(mmoe_receiver *r) {
    r->in_frame = 1;
    r->plain = 1;
    r->bad = 0;
    r->block = r->left = 0;
    r->body_length = 0;
    r->line_length = 0;
    r->line_full = 0;
}

static void append(mmoe_receiver *r, uint8_t byte) {
    if (r->body_length < MMOE_FRAME_BODY_BYTES)
        r->body[r->body_length++] = byte;
    else
        r->bad = 1;
}

/* COBS: a code n is followed by n - 1 bytes, and by a zero that was taken out unless n is 255 or the frame ends. */
static void take_frame_byte(mmoe_receiver *r, uint8_t byte) {
    if (r->left) {
        append(r, byte);
        r->left--;
        return;
    }
    if (r->block && r->block != 255) append(r, 0);
    r->block = byte;
    r->left = (uint8_t)(byte - 1);
}

static int is_intact(const mmoe_receiver *r) {
    if (r->left || r->body_length < MMOE_FRAME_HEAD_BYTES + 4) return 0;
    const uint32_t length = r->body_length - 4u;
    const uint8_t *crc = r->body + length;
    return mmoe_crc32(0, r->body, length) ==
           (crc[0] | (uint32_t)crc[1] << 8 | (uint32_t)crc[2] << 16 | (uint32_t)crc[3] << 24);
}

static mmoe_received take_line_byte(mmoe_receiver *r, uint8_t byte) {
    if (byte == '%') {
        const mmoe_received what = r->line_full ? MMOE_LONG_COMMAND : MMOE_COMMAND;
        r->line[r->line_length] = 0;
        return what;
    }
    if (r->line_length < MMOE_LINE_BYTES - 1)
        r->line[r->line_length++] = (char)byte;
    else
        r->line_full = 1;
    return MMOE_NOTHING;
}

mmoe_received mmoe_receiver_feed(mmoe_receiver *r, uint8_t byte) {
    if (byte == 0) {
        if (r->in_frame && is_intact(r)) {
            r->in_frame = 0;
            r->line_length = 0;
            r->line_full = 0;
            return MMOE_FRAME;
        }
        begin_frame(r);
        return MMOE_NOTHING;
    }
    if (r->in_frame) {
        take_frame_byte(r, byte);
        if (r->bad) { /* too long for a frame: back to text */
            r->in_frame = 0;
            r->line_length = 0;
            return MMOE_NOTHING;
        }
        r->plain = (uint8_t)(r->plain && byte >= 0x20 && byte < 0x7F);
        if (!r->plain) return MMOE_NOTHING;
        if (byte == '%' && r->line_length == 0) { /* the first byte of a frame may be 37 */
            r->plain = 0;
            return MMOE_NOTHING;
        }
    } else if (r->line_length == 0 && byte <= ' ') {
        return MMOE_NOTHING; /* line ends between commands */
    }
    const mmoe_received what = take_line_byte(r, byte);
    if (what != MMOE_NOTHING) {
        r->in_frame = 0;
        r->line_full = 0;
    }
    return what;
}

uint32_t mmoe_frame_seal(uint8_t *body, uint32_t length) {
    const uint32_t crc = mmoe_crc32(0, body, length);
    for (uint32_t i = 0; i < 4; i++) body[length + i] = (uint8_t)(crc >> 8 * i);
    return length + 4;
}

void mmoe_frame_send(const uint8_t *body, uint32_t length) {
    static const uint8_t zero = 0;
    mmoe_port_write(&zero, 1);
    for (uint32_t from = 0;;) {
        uint32_t count = 0;
        while (count < 254 && from + count < length && body[from + count] != 0) count++;
        const uint8_t code = (uint8_t)(count + 1);
        mmoe_port_write(&code, 1);
        mmoe_port_write(body + from, count);
        from += count;
        if (from == length) break;
        if (count < 254) { /* skip the zero that the code stands for */
            if (++from == length) {
                const uint8_t last = 1;
                mmoe_port_write(&last, 1);
                break;
            }
        }
    }
    mmoe_port_write(&zero, 1);
}
