/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_internal.h"

static mmoe_session session;
static mmoe_receiver receiver;

void mmoe_main_start(void) {
    session.ready = mmoe_init(&session.rt);
    mmoe_session_greet();
}

void mmoe_main_receive(uint8_t byte) {
    switch (mmoe_receiver_feed(&receiver, byte)) {
    case MMOE_FRAME: mmoe_session_request(&session, receiver.body, receiver.body_length); break;
    case MMOE_COMMAND: mmoe_session_command(&session, receiver.line, receiver.line_length); break;
    case MMOE_LONG_COMMAND: {
        static const char text[] = "e-[A command has at most 255 characters]\r\nm-ready\r\n";
        mmoe_port_write(text, sizeof text - 1);
        break;
    }
    case MMOE_NOTHING: return;
    }
    receiver.line_length = 0;
}

mmoe_status mmoe_main_answer(const char *text, uint32_t length, mmoe_on_text *on_text, void *user) {
    uint32_t token = 0;
    uint8_t done = 0;
    mmoe_status status = mmoe_session_prompt(&session, (const uint8_t *)text, length, &token);
    while (status == MMOE_OK) {
        status = mmoe_session_next(&session, &token, &done);
        if (status != MMOE_OK || done) break;
        uint32_t bytes;
        const uint8_t *piece = mmoe_tokenizer_decode(session.rt->model->tokenizer, token, &bytes);
        on_text((const char *)piece, bytes, user);
    }
    session.generating = 0;
    return status;
}

void mmoe_main(void) {
    mmoe_main_start();
    for (;;) {
        const int byte = mmoe_port_read_byte(1);
        if (byte >= 0) mmoe_main_receive((uint8_t)byte);
    }
}
