/* SPDX-License-Identifier: Apache-2.0
 *
 * `receive`: prints what the receiver makes of standard input. `send`: standard input is length u16 and body, again and
 * again; the frames go to standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmoe_internal.h"

void mmoe_port_write(const void *data, uint32_t length) { fwrite(data, 1, length, stdout); }

static void receive(void) {
    mmoe_receiver *r = calloc(1, sizeof *r); /* on the heap: the sanitizer knows its ends */
    for (int byte; (byte = getchar()) != EOF;) {
        switch (mmoe_receiver_feed(r, (uint8_t)byte)) {
        case MMOE_FRAME:
            printf("frame ");
            for (uint32_t i = 0; i < r->body_length; i++) printf("%02x", r->body[i]);
            printf("\n");
            break;
        case MMOE_COMMAND: printf("command %s\n", r->line); break;
        case MMOE_LONG_COMMAND: printf("long\n"); break;
        case MMOE_NOTHING: continue;
        }
        r->line_length = 0;
    }
    free(r);
}

static void send(void) {
    uint8_t head[2], body[MMOE_FRAME_BODY_BYTES];
    while (fread(head, 1, 2, stdin) == 2) {
        const uint32_t length = head[0] | (uint32_t)head[1] << 8;
        if (length + 4 > sizeof body || fread(body, 1, length, stdin) != length) exit(1);
        mmoe_frame_send(body, mmoe_frame_seal(body, length));
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "receive") == 0)
        receive();
    else
        send();
    return 0;
}
