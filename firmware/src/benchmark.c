/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands by which the MLPerf Tiny runner measures a board (SPEC.md 8.2): an input in hex, timed inferences, results. */
#include <string.h>

#include "mmoe_internal.h"

/* The next word of *rest, which is cut off there; NULL when there is none. */
static char *take_word(char **rest) {
    while (**rest == ' ') ++*rest;
    char *word = *rest;
    if (*word == 0) return NULL;
    while (**rest && **rest != ' ') ++*rest;
    if (**rest) *(*rest)++ = 0;
    return word;
}

static int is_word(const char *word, const char *name) {
    while (*word && *word == *name) word++, name++;
    return *word == *name;
}

/* The digits at the start of a word, or `absent`; -1 where there is none. At most 9999999. */
static int32_t number(const char *word, int32_t absent) {
    if (word == NULL) return absent;
    int32_t value = *word >= '0' && *word <= '9' ? 0 : -1;
    for (; *word >= '0' && *word <= '9'; word++) {
        value = 10 * value + (*word - '0');
        if (value > 9999999) value = 9999999;
    }
    return value;
}

static void say_hex(uint32_t byte) {
    static const char digits[] = "0123456789abcdef";
    const char pair[2] = {digits[byte >> 4], digits[byte & 15]};
    mmoe_port_write(pair, sizeof pair);
}

static int32_t hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static void load_input(mmoe_session *s, const char *size) {
    const int32_t bytes = number(size, -1);
    if (size == NULL) {
        mmoe_say("e-[Command 'db load' requires the # of bytes]\r\n");
    } else if (bytes <= 0) {
        mmoe_say("e-[Command 'db load' must be >0 bytes]\r\n");
    } else if (bytes > MMOE_INPUT_BYTES) {
        mmoe_say("e-[Supplied buffer size ");
        mmoe_say_number((uint32_t)bytes);
        mmoe_say(" exceeds maximum of ");
        mmoe_say_number(MMOE_INPUT_BYTES);
        mmoe_say("]\r\n");
    } else {
        s->input_size = (uint16_t)bytes;
        s->input_count = 0;
        mmoe_say("m-[Expecting ");
        mmoe_say_number((uint32_t)bytes);
        mmoe_say(" bytes]\r\n");
    }
}

static void print_input(const mmoe_session *s, const char *count, const char *offset) {
    const uint32_t from = (uint32_t)number(offset, 0), wanted = (uint32_t)number(count, MMOE_INPUT_BYTES);
    uint32_t end = s->input_count;
    if (from < end && wanted < end - from) end = from + wanted;
    for (uint32_t i = from; i < end; i++) {
        mmoe_say((i - from) % 8 ? "-" : "m-buffer-");
        say_hex(s->input[i]);
        if ((i - from) % 8 == 7 || i + 1 == end) mmoe_say("\r\n");
    }
}

static void take_input(mmoe_session *s, const char *hex) {
    uint32_t digits = 0;
    while (hex[digits]) digits++;
    if (digits % 2) {
        mmoe_say("e-[Insufficent number of hex digits]\r\n"); /* so the reference spells it */
        return;
    }
    for (; *hex && s->input_count < s->input_size; hex += 2) {
        const int32_t high = hex_digit(hex[0]), low = hex_digit(hex[1]);
        if (high < 0 || low < 0) {
            mmoe_say("e-[Invalid hex digit '");
            mmoe_port_write(hex, 2);
            mmoe_say("']\r\n");
            return;
        }
        s->input[s->input_count++] = (uint8_t)(high << 4 | low);
        if (s->input_count == s->input_size) mmoe_say("m-load-done\r\n");
    }
}

static void handle_input(mmoe_session *s, char *rest) {
    const char *word = take_word(&rest);
    if (word == NULL) {
        mmoe_say("e-[Command 'db' requires a subcommand]\r\n");
    } else if (is_word(word, "load")) {
        load_input(s, take_word(&rest));
    } else if (is_word(word, "print")) {
        const char *count = take_word(&rest);
        print_input(s, count, take_word(&rest));
    } else {
        take_input(s, word);
    }
}

/* --- inference ----------------------------------------------------------------------------------------------------------- */

/* Candidates, u16 each at input + 1; 0 when the input does not hold what it announces. */
static uint32_t count_candidates(const mmoe_session *s) {
    const uint32_t count = s->input_count ? s->input[0] : 0;
    return 1 + 2 * count <= s->input_count ? count : 0;
}

static mmoe_status check_input(const mmoe_session *s) {
    if (s->ready != MMOE_OK) return s->ready;
    if (s->input_count != s->input_size) return MMOE_E_ARGUMENT; /* still loading */
    const uint32_t count = count_candidates(s);
    if (s->input_count && s->input[0] != count) return MMOE_E_ARGUMENT;
    for (uint32_t i = 0; i < count; i++)
        if ((s->input[1 + 2 * i] | (uint32_t)s->input[2 + 2 * i] << 8) >= s->rt->model->vocab_size) return MMOE_E_TOKEN;
    return MMOE_OK;
}

static mmoe_status run_inferences(mmoe_session *s, int32_t count) {
    const uint32_t head = s->input_count ? 1 + 2 * count_candidates(s) : 0;
    mmoe_status status = MMOE_OK;
    for (uint32_t tokens; count > 0 && status == MMOE_OK; count--)
        status = mmoe_session_prompt(s, s->input + head, s->input_count - head, &tokens);
    return status;
}

static void say_thousandths(uint32_t value) {
    mmoe_say_number(value / 1000);
    const char decimals[4] = {'.', (char)('0' + value / 100 % 10), (char)('0' + value / 10 % 10), (char)('0' + value % 10)};
    mmoe_port_write(decimals, sizeof decimals);
}

static void say_results(mmoe_session *s) {
    const mmoe_status status = s->generating ? check_input(s) : MMOE_E_NO_PROMPT;
    if (status != MMOE_OK) {
        mmoe_say_status(status);
        return;
    }
    const uint32_t count = count_candidates(s);
    const float *logits = mmoe_logits(s->rt);
    mmoe_say("m-results-[");
    if (count == 0) {
        mmoe_say_number(s->next_token);
        mmoe_say(".000");
    } else {
        const uint8_t *token = s->input + 1;
        const mmoe_score all = mmoe_score_f32(logits, token, count);
        for (uint32_t i = 0; i < count; i++) {
            if (i) mmoe_say(",");
            const float p = mmoe_exp_f32(logits[token[2 * i] | (uint32_t)token[2 * i + 1] << 8] - all.largest) / all.total;
            /* rint, ties to even: adding 2^23 leaves the integer */
            say_thousandths((uint32_t)((1000.0f * p + 0x1.0p23f) - 0x1.0p23f));
        }
    }
    mmoe_say("]\r\n");
}

static void infer(mmoe_session *s, char *rest) {
    const char *word = take_word(&rest);
    const int32_t count = number(word, 1), warm_up = number(take_word(&rest), 10);
    if (count <= 0) {
        mmoe_say("e-[Inference iterations must be >0]\r\n");
        return;
    }
    if (warm_up < 0) {
        mmoe_say("e-[Inference warmup must be >=0]\r\n");
        return;
    }
    mmoe_status status = check_input(s);
    if (status != MMOE_OK) {
        mmoe_say_status(status);
        return;
    }
    mmoe_say("m-warmup-start-");
    mmoe_say_number((uint32_t)warm_up);
    mmoe_say("\r\n");
    status = run_inferences(s, warm_up);
    mmoe_say("m-warmup-done\r\nm-infer-start-");
    mmoe_say_number((uint32_t)count);
    mmoe_say("\r\n");
    mmoe_say_lap();
    if (status == MMOE_OK) status = run_inferences(s, count);
    mmoe_say_lap();
    if (status != MMOE_OK) {
        mmoe_say_status(status);
        return;
    }
    mmoe_say("m-infer-done\r\n");
    say_results(s);
}

/* What follows the word `name` at the start of a line; NULL when another word is there. */
static char *skip_command(char *line, const char *name) {
    while (*name && *line == *name) line++, name++;
    return *name == 0 && (*line == 0 || *line == ' ') ? line : NULL;
}

int mmoe_session_benchmark(mmoe_session *s, char *line) {
    char *rest;
    if ((rest = skip_command(line, "db")) != NULL)
        handle_input(s, rest);
    else if ((rest = skip_command(line, "infer")) != NULL)
        infer(s, rest);
    else if (skip_command(line, "results") != NULL)
        say_results(s);
    else
        return 0;
    return 1;
}
