/* SPDX-License-Identifier: Apache-2.0
 *
 * Text commands of SPEC.md 8.2. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_VERSION
#define MMOE_VERSION "unversioned"
#endif

static void say_model_id(const mmoe_model *model) {
    static const char hex[] = "0123456789abcdef";
    char id[8];
    for (uint32_t i = 0; i < sizeof id; i++) id[i] = hex[model->model_id[i / 2] >> (i % 2 ? 0 : 4) & 15];
    mmoe_say("m-model-[");
    mmoe_port_write(id, sizeof id);
    mmoe_say("]\r\n");
}

/* On one line: what would end it is a space. */
static void say_token(const mmoe_model *model, uint32_t token) {
    uint32_t length;
    const uint8_t *text = mmoe_tokenizer_decode(model->tokenizer, token, &length);
    for (uint32_t i = 0; i < length; i++) {
        const uint8_t byte = text[i] < ' ' ? ' ' : text[i];
        mmoe_port_write(&byte, 1);
    }
}

static void run_prompt(mmoe_session *s, const char *text, uint32_t length) {
    uint32_t tokens, token;
    uint8_t done = 0;
    mmoe_status status = mmoe_session_prompt(s, (const uint8_t *)text, length, &tokens);
    while (status == MMOE_OK) {
        status = mmoe_session_next(s, &token, &done);
        if (status != MMOE_OK || done) break;
        say_token(s->rt->model, token);
    }
    mmoe_say("\r\n");
    if (status != MMOE_OK) mmoe_say_status(status);
}

static int is_command(const char *line, const char *name) {
    while (*name && *line == *name) line++, name++;
    return *line == *name;
}

void mmoe_session_greet(void) {
    mmoe_say("m-timestamp-mode-performance\r\n");
    mmoe_say_lap();
    mmoe_say("m-init-done\r\nm-ready\r\n");
}

/* line: length characters and a zero, in MMOE_LINE_BYTES */
void mmoe_session_command(mmoe_session *s, char *line, uint32_t length) {
    const mmoe_model *model = s->rt->model;
    memset(line + length, 0, MMOE_LINE_BYTES - length);
    if (is_command(line, "name")) {
        mmoe_say("m-name-dut-[mmoe-embed]\r\n");
    } else if (is_command(line, "profile")) {
        mmoe_say("m-profile-[mmoe-embed " MMOE_VERSION " ");
        mmoe_say(mmoe_port_board());
        mmoe_say("]\r\n");
        say_model_id(model);
    } else if (is_command(line, "timestamp")) {
        mmoe_say_lap();
    } else if (memcmp(line, "prompt ", 7) == 0) {
        run_prompt(s, line + 7, length - 7);
    } else if (is_command(line, "help")) {
        mmoe_say("name%: this device\r\n"
                 "profile%: firmware, board and model\r\n"
                 "timestamp%: microseconds since the start\r\n"
                 "prompt TEXT%: the model's answer\r\n"
                 "db load N%, db HH...%, db print%: the input of infer\r\n"
                 "infer N W%: N timed prompts after W others\r\n"
                 "results%: of the last one\r\n"
                 "help%: this list\r\n");
    } else if (!mmoe_session_benchmark(s, line)) {
        mmoe_say("e-[Unknown command: ");
        mmoe_say(line);
        mmoe_say("]\r\n");
    }
    mmoe_say("m-ready\r\n");
}
