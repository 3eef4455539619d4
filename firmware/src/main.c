/* SPDX-License-Identifier: Apache-2.0 */
#include "mmoe_internal.h"

static mmoe_session session;
static mmoe_receiver receiver;

void mmoe_main(void) {
    session.ready = mmoe_init(&session.rt);
    mmoe_session_greet();
    for (;;) {
        const int byte = mmoe_port_read_byte(1);
        if (byte < 0) continue;
        switch (mmoe_receiver_feed(&receiver, (uint8_t)byte)) {
        case MMOE_FRAME: mmoe_session_request(&session, receiver.body, receiver.body_length); break;
        case MMOE_COMMAND: mmoe_session_command(&session, receiver.line, receiver.line_length); break;
        case MMOE_LONG_COMMAND: {
            static const char text[] = "e-[A command has at most 255 characters]\r\nm-ready\r\n";
            mmoe_port_write(text, sizeof text - 1);
            break;
        }
        case MMOE_NOTHING: continue;
        }
        receiver.line_length = 0;
    }
}
