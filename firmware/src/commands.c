/* SPDX-License-Identifier: Apache-2.0
 *
 * Text commands of SPEC.md 8.2. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_VERSION
#define MMOE_VERSION "unversioned"
#endif

static uint32_t text_length(const char *text) {
    uint32_t length = 0;
    while (text[length]) length++;
    return length;
}

static void say(const char *text) { mmoe_port_write(text, text_length(text)); }

static void say_number(uint64_t number) {
    char digits[20];
    uint32_t at = sizeof digits, digit;
    do {
        number = mmoe_divide(number, 10, &digit);
        digits[--at] = (char)('0' + digit);
    } while (number);
    mmoe_port_write(digits + at, sizeof digits - at);
}

static void say_lap(void) {
    const uint32_t hz = mmoe_port_tick_hz();
    uint32_t rest, unused;
    const uint64_t seconds = mmoe_divide(mmoe_port_ticks(), hz, &rest);
    say("m-lap-us-");
    say_number(seconds * 1000000 + mmoe_divide((uint64_t)rest * 1000000, hz, &unused));
    say("\r\n");
}

static void say_model_id(const mmoe_model *model) {
    static const char hex[] = "0123456789abcdef";
    char id[8];
    for (uint32_t i = 0; i < sizeof id; i++) id[i] = hex[model->model_id[i / 2] >> (i % 2 ? 0 : 4) & 15];
    say("m-model-[");
    mmoe_port_write(id, sizeof id);
    say("]\r\n");
}

static void say_error(mmoe_status status) {
    say("e-[Status -");
    say_number((uint32_t)-(int32_t)status);
    say("]\r\n");
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

static void run_prompt(mmoe_session *s, const char *text) {
    uint32_t tokens, token;
    uint8_t done = 0;
    mmoe_status status = mmoe_session_prompt(s, (const uint8_t *)text, text_length(text), &tokens);
    while (status == MMOE_OK) {
        status = mmoe_session_next(s, &token, &done);
        if (status != MMOE_OK || done) break;
        say_token(s->rt->model, token);
    }
    say("\r\n");
    if (status != MMOE_OK) say_error(status);
}

static int is_command(const char *line, const char *name) {
    const uint32_t length = text_length(name);
    return memcmp(line, name, length + 1) == 0;
}

void mmoe_session_greet(void) {
    say("m-timestamp-mode-performance\r\n");
    say_lap();
    say("m-init-done\r\nm-ready\r\n");
}

/* line: length characters and a zero, in MMOE_LINE_BYTES */
void mmoe_session_command(mmoe_session *s, char *line, uint32_t length) {
    const mmoe_model *model = s->rt->model;
    memset(line + length, 0, MMOE_LINE_BYTES - length);
    if (is_command(line, "name")) {
        say("m-name-dut-[mmoe-embed]\r\n");
    } else if (is_command(line, "profile")) {
        say("m-profile-[mmoe-embed " MMOE_VERSION " ");
        say(mmoe_port_board());
        say("]\r\n");
        say_model_id(model);
    } else if (is_command(line, "timestamp")) {
        say_lap();
    } else if (memcmp(line, "prompt ", 7) == 0) {
        run_prompt(s, line + 7);
    } else if (is_command(line, "help")) {
        say("name%: this device\r\n"
            "profile%: firmware, board and model\r\n"
            "timestamp%: microseconds since the start\r\n"
            "prompt TEXT%: the model's answer\r\n"
            "help%: this list\r\n");
    } else {
        say("e-[Unknown command: ");
        say(line);
        say("]\r\n");
    }
    say("m-ready\r\n");
}
