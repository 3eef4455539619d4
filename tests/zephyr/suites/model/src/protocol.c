/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser of the serial line: text commands and frames in one stream of bytes. */
#include <string.h>
#include <zephyr/ztest.h>

#include "mmoe_internal.h"

static mmoe_receiver receiver;

static void start(void *fixture) {
    ARG_UNUSED(fixture);
    memset(&receiver, 0, sizeof receiver);
}

/* What the last byte completed; the bytes before it must complete nothing. */
static mmoe_received feed(const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    for (size_t i = 0; i + 1 < length; i++) zassert_equal(mmoe_receiver_feed(&receiver, p[i]), MMOE_NOTHING, "byte %u", i);
    return mmoe_receiver_feed(&receiver, p[length - 1]);
}

/* 0, COBS of type 1, sequence 7, no payload and the CRC-32, 0 */
static size_t make_frame(uint8_t *frame) {
    uint8_t body[6] = {1, 7};
    zassert_equal(mmoe_frame_seal(body, 2), sizeof body);
    size_t at = 0, code;
    frame[at++] = 0;
    code = at++;
    frame[code] = 1;
    for (size_t i = 0; i < sizeof body; i++) {
        if (body[i]) {
            frame[at++] = body[i];
            frame[code]++;
        } else {
            code = at++;
            frame[code] = 1;
        }
    }
    frame[at++] = 0;
    return at;
}

ZTEST(protocol, test_command) {
    zassert_equal(feed("name%", 5), MMOE_COMMAND);
    zassert_equal(receiver.line_length, 4);
    zassert_str_equal(receiver.line, "name");
}

ZTEST(protocol, test_frame) {
    uint8_t frame[16];
    zassert_equal(feed(frame, make_frame(frame)), MMOE_FRAME);
    zassert_equal(receiver.body_length, 6);
    zassert_equal(receiver.body[0], 1);
    zassert_equal(receiver.body[1], 7);
}

ZTEST(protocol, test_damaged_frame_is_dropped_and_the_next_one_is_not) {
    uint8_t frame[16];
    const size_t length = make_frame(frame);
    frame[3] ^= 0x10;
    zassert_equal(feed(frame, length), MMOE_NOTHING);
    zassert_equal(feed(frame, make_frame(frame)), MMOE_FRAME);
}

ZTEST(protocol, test_command_of_256_characters_is_refused) {
    for (int i = 0; i < MMOE_LINE_BYTES; i++) zassert_equal(mmoe_receiver_feed(&receiver, 'a'), MMOE_NOTHING);
    zassert_equal(mmoe_receiver_feed(&receiver, '%'), MMOE_LONG_COMMAND);
}

ZTEST_SUITE(protocol, NULL, NULL, start, NULL, NULL);
