/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary requests of SPEC.md 8.1. */
#include <string.h>

#include "mmoe_internal.h"

#ifndef MMOE_VERSION
#define MMOE_VERSION "unversioned"
#endif

enum {
    IDENTIFY = 0x01, RESET, STEP, LOGITS, STATISTICS, PROFILE, ENCODE, PROMPT, NEXT, ROUTES, LAYERS, PREFILL,
    TIMELINE, SAMPLING, WINDOWS,
    SCORE = 0x10, SELFTEST,
    FLASH_READ = 0x18, FLASH_ERASE, FLASH_PROGRAM, FLASH_CRC, SWITCH,
    REPLY = 0x80,
    RESET_SLOTS = 1, RESET_STATISTICS = 2, RESET_BOARD = 4,
    ERASE_ANYTHING = 1,
    MAX_FLASH = 1024, MAX_LOGITS = 256, MAX_OPS = 64, MAX_LAYERS = 32, MAX_EVENTS = 120,
};

#define LEAST_TEMPERATURE 0.001f
#define MOST_TEMPERATURE 1000.0f

/* --- reading and writing payloads ---------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *data;
    uint32_t length;
} payload;

static uint32_t get_u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t get_u32(const uint8_t *p) { return get_u16(p) | get_u16(p + 2) << 16; }

static uint8_t *reply_room(mmoe_session *s, uint32_t length) {
    uint8_t *p = s->reply + s->reply_length;
    s->reply_length += length;
    return p;
}

static uint32_t reply_left(const mmoe_session *s) { return MMOE_FRAME_BODY_BYTES - 4 - s->reply_length; }

static void put(mmoe_session *s, uint64_t value, uint32_t bytes) {
    uint8_t *p = reply_room(s, bytes);
    for (uint32_t i = 0; i < bytes; i++, value >>= 8) p[i] = (uint8_t)value;
}

static void put_bytes(mmoe_session *s, const void *data, uint32_t length) { memcpy(reply_room(s, length), data, length); }

/* With its zero; cut where the reply is full. */
static void put_string(mmoe_session *s, const char *text) {
    while (*text && reply_left(s) > 1) put(s, (uint8_t)*text++, 1);
    put(s, 0, 1);
}

/* --- generation ---------------------------------------------------------------------------------------------------------- */

/* Runs what was fed, and chooses the token that comes next. */
static mmoe_status finish(mmoe_session *s) {
    const mmoe_status status = mmoe_finish(s->rt);
    if (status != MMOE_OK) return status;
    const float *logits = mmoe_logits(s->rt);
    const uint32_t vocab_size = s->rt->model->vocab_size;
    s->next_token = s->sampling.temperature > 0.0f ? mmoe_sample_f32(logits, vocab_size, &s->sampling, s->rt->position)
                                                   : mmoe_argmax_f32(logits, vocab_size);
    return MMOE_OK;
}

static mmoe_status feed_tokens(mmoe_session *s, const mmoe_token *token, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const mmoe_status status = mmoe_feed(s->rt, token[i]);
        if (status != MMOE_OK) return status;
    }
    return MMOE_OK;
}

mmoe_status mmoe_session_prompt(mmoe_session *s, const uint8_t *text, uint32_t length, uint32_t *tokens) {
    const mmoe_model *model = s->rt->model;
    /* One piece of text at a time: the reply's memory is free until there is a reply. */
    mmoe_token *piece_tokens = (mmoe_token *)(void *)(s->reply + 8);
    const uint32_t capacity = (MMOE_FRAME_BODY_BYTES - 8) / sizeof *piece_tokens;
    s->generating = s->ended = 0;
    s->generated = 0;
    s->sampling = s->coming;
    s->coming = (mmoe_sampling){0};
    s->reply_length = 0;
    if (s->ready != MMOE_OK) return s->ready;
    if (model->window) return MMOE_E_UNSUPPORTED;
    uint32_t count = (uint32_t)model->prefix_count + model->suffix_count;
    for (uint32_t from = 0; from < length;) {
        const uint32_t piece = mmoe_tokenizer_piece(text + from, length - from);
        if (piece > capacity) return MMOE_E_TEXT;
        count += mmoe_tokenizer_encode_piece(model->tokenizer, text + from, piece, piece_tokens);
        from += piece;
    }
    if (count == 0 || count > model->context) return MMOE_E_TEXT;
    mmoe_reset(s->rt);
    mmoe_status status = feed_tokens(s, model->prefix_tokens, model->prefix_count);
    for (uint32_t from = 0; from < length && status == MMOE_OK;) {
        const uint32_t piece = mmoe_tokenizer_piece(text + from, length - from);
        status = feed_tokens(s, piece_tokens,
                             mmoe_tokenizer_encode_piece(model->tokenizer, text + from, piece, piece_tokens));
        from += piece;
    }
    if (status == MMOE_OK) status = feed_tokens(s, model->suffix_tokens, model->suffix_count);
    if (status == MMOE_OK) status = finish(s);
    if (status != MMOE_OK) return status;
    s->generating = 1;
    *tokens = count;
    return MMOE_OK;
}

mmoe_status mmoe_session_next(mmoe_session *s, uint32_t *token, uint8_t *done) {
    const mmoe_model *model = s->rt->model;
    if (s->ready != MMOE_OK) return s->ready;
    if (!s->generating) return MMOE_E_NO_PROMPT;
    *token = s->next_token;
    *done = s->ended || s->next_token == model->stop_token || s->generated >= model->max_new_tokens;
    if (*done) return MMOE_OK;
    if (s->rt->position < model->context) {
        mmoe_status status = mmoe_feed(s->rt, *token);
        if (status == MMOE_OK) {
            s->rt->decode = 1;
            status = finish(s);
        }
        if (status != MMOE_OK) return status;
    } else {
        s->ended = 1; /* this token is still part of the answer, none can follow it */
    }
    s->generated++;
    return MMOE_OK;
}

/* --- requests: each writes its reply behind the status ------------------------------------------------------------------- */

static mmoe_status identify(mmoe_session *s) {
    const mmoe_model *model = s->rt->model;
    put(s, MMOE_ABI, 2);
    put(s, mmoe_port_boot_count(), 2);
    put(s, model->vocab_size, 4);
    put(s, model->context, 4);
    put(s, model->layers, 2);
    put(s, model->experts, 2);
    put(s, model->top_k, 2);
    put(s, model->slots, 2);
    put_bytes(s, model->model_id, 32);
    put_bytes(s, model->build_id, 32);
    put(s, mmoe_port_tick_hz(), 4);
#ifdef MMOE_UPDATES
    put(s, s->ready == MMOE_OK ? mmoe_update_experts_crc() : 0, 4);
    put(s, s->ready == MMOE_OK ? mmoe_image_parts()->sequence : 0, 4);
#else
    put(s, 0, 8);
#endif
    put_string(s, mmoe_port_board());
    put_string(s, MMOE_VERSION);
    return MMOE_OK;
}

static mmoe_status reset(mmoe_session *s, payload in) {
    if (in.length != 1) return MMOE_E_ARGUMENT;
#ifdef MMOE_RETAINED
    if (in.data[0] & RESET_BOARD) mmoe_port_restart();
#endif
    s->generating = 0;
    mmoe_reset(s->rt);
    if (in.data[0] & RESET_SLOTS) mmoe_pager_empty();
    if (in.data[0] & RESET_STATISTICS) mmoe_clear_statistics(s->rt);
    return MMOE_OK;
}

/* Of step, prefill and windows: one token, those of a prompt, or windows */
static mmoe_status take(mmoe_session *s, payload in, uint8_t type) {
    const uint32_t bytes = type == WINDOWS ? 4u * s->rt->model->window : 4;
    if (bytes == 0) return MMOE_E_UNSUPPORTED;
    if (in.length == 0 || in.length % bytes) return MMOE_E_ARGUMENT;
    if (s->ready != MMOE_OK) return s->ready;
    s->generating = 0;
    const uint32_t vocab_size = s->rt->model->vocab_size;
    const uint64_t start = mmoe_port_ticks();
    mmoe_status status = MMOE_OK;
    s->rt->fed = 0;
    for (const uint8_t *at = in.data; at < in.data + in.length && status == MMOE_OK; at += bytes)
        status = type == WINDOWS ? mmoe_feed_window(s->rt, at) : mmoe_feed(s->rt, get_u32(at));
    if (status == MMOE_OK) {
        s->rt->decode = type == STEP;
        status = mmoe_finish(s->rt);
    }
    const uint64_t ticks = mmoe_port_ticks() - start;
    if (status != MMOE_OK) return status;
    const float *logits = mmoe_logits(s->rt);
    put(s, s->rt->position - 1, 4);
    put(s, mmoe_argmax_f32(logits, vocab_size), 4);
    put(s, mmoe_crc32(0, logits, 4 * vocab_size), 4);
    put(s, ticks, 8);
    return MMOE_OK;
}

static mmoe_status logits(mmoe_session *s, payload in) {
    if (in.length != 6) return MMOE_E_ARGUMENT;
    const uint32_t first = get_u32(in.data), count = get_u16(in.data + 4), vocab_size = s->rt->model->vocab_size;
    if (count > MAX_LOGITS || first > vocab_size || count > vocab_size - first) return MMOE_E_ARGUMENT;
    put_bytes(s, mmoe_logits(s->rt) + first, 4 * count);
    return MMOE_OK;
}

static mmoe_status statistics(mmoe_session *s) {
    const mmoe_statistics *now = &s->rt->statistics;
    uint32_t stack_bytes, stack_used;
    mmoe_layer_statistics all = {0};
    for (uint32_t l = 0; l < s->rt->model->layers; l++) {
        all.hits += now->layer[l].hits;
        all.misses += now->layer[l].misses;
        all.bytes_loaded += now->layer[l].bytes_loaded;
        all.load_ticks += now->layer[l].load_ticks;
        all.stall_ticks += now->layer[l].stall_ticks;
    }
    mmoe_port_stack(&stack_bytes, &stack_used);
    put(s, now->steps, 4);
    put(s, all.hits, 4);
    put(s, all.misses, 4);
    put(s, now->load_errors, 4);
    put(s, all.bytes_loaded, 8);
    put(s, all.stall_ticks, 8);
    put(s, s->rt->model->arena_bytes, 4);
    put(s, mmoe_arena_used(s->rt), 4);
    put(s, stack_bytes, 4);
    put(s, stack_used, 4);
    put(s, all.load_ticks, 8);
    put(s, now->check_ticks, 8);
    put(s, now->prefetched, 4);
    put(s, now->prefetch_used, 4);
    put(s, now->kept, 4);
    return MMOE_OK;
}

static mmoe_status layers(mmoe_session *s, payload in) {
    if (in.length != 4) return MMOE_E_ARGUMENT;
    const uint32_t first = get_u16(in.data), count = get_u16(in.data + 2), all = s->rt->model->layers;
    if (count > MAX_LAYERS || first > all) return MMOE_E_ARGUMENT;
    put(s, all, 2);
    for (uint32_t l = first; l < all && l < first + count; l++) {
        const mmoe_layer_statistics *layer = &s->rt->statistics.layer[l];
        put(s, layer->hits, 4);
        put(s, layer->misses, 4);
        put(s, layer->bytes_loaded, 8);
        put(s, layer->load_ticks, 8);
        put(s, layer->stall_ticks, 8);
    }
    return MMOE_OK;
}

static mmoe_status profile(mmoe_session *s, payload in) {
    if (in.length != 4) return MMOE_E_ARGUMENT;
    const uint32_t first = get_u16(in.data), count = get_u16(in.data + 2), ops = s->rt->model->op_count;
    if (count > MAX_OPS || first > ops) return MMOE_E_ARGUMENT;
    put(s, ops, 2);
    for (uint32_t op = first; op < ops && op < first + count; op++) {
        put(s, s->rt->op_ticks[op], 8);
        put(s, s->rt->op_calls[op], 4);
    }
    return MMOE_OK;
}

static mmoe_status timeline(mmoe_session *s, payload in) {
    if (in.length != 6) return MMOE_E_ARGUMENT;
    const uint32_t recorded = mmoe_timeline_recorded(), room = mmoe_the_memory.timeline_events;
    const uint32_t oldest = recorded > room ? recorded - room : 0, count = get_u16(in.data + 4);
    uint32_t first = get_u32(in.data);
    if (count > MAX_EVENTS) return MMOE_E_ARGUMENT;
    if (first < oldest) first = oldest;
    if (first > recorded) first = recorded;
    put(s, recorded, 4);
    put(s, first, 4);
    for (uint32_t i = first; i < recorded && i - first < count; i++) {
        const mmoe_event event = mmoe_timeline_event(i);
        put(s, event.ticks, 4);
        put(s, event.kind, 2);
        put(s, event.argument, 2);
    }
    return MMOE_OK;
}

static mmoe_status encode(mmoe_session *s, payload in) {
    if (s->rt->model->window) return MMOE_E_UNSUPPORTED;
    const uint32_t aligned = MMOE_PAD(s->reply_length, sizeof(mmoe_token)), pad = aligned - s->reply_length;
    mmoe_token *token = (mmoe_token *)(void *)(s->reply + aligned); /* behind the status */
    const uint32_t capacity = (reply_left(s) - pad) / sizeof *token;
    const int32_t count = mmoe_tokenizer_encode(s->rt->model->tokenizer, in.data, in.length, token, capacity);
    if (count < 0) return (mmoe_status)count;
    const uint32_t bytes = (uint32_t)count * sizeof *token;
    memmove(reply_room(s, bytes), token, bytes); /* where they are sent from */
    return MMOE_OK;
}

static mmoe_status prompt(mmoe_session *s, payload in) {
    uint32_t tokens = 0;
    const uint32_t reply_length = s->reply_length;
    const uint8_t type = s->reply[0], sequence = s->reply[1];
    const mmoe_status status = mmoe_session_prompt(s, in.data, in.length, &tokens);
    s->reply[0] = type;
    s->reply[1] = sequence;
    s->reply_length = reply_length;
    if (status == MMOE_OK) put(s, tokens, 2);
    return status;
}

static mmoe_status next(mmoe_session *s) {
    uint32_t token = 0, length;
    uint8_t done = 0;
    const mmoe_status status = mmoe_session_next(s, &token, &done);
    if (status != MMOE_OK) return status;
    const uint8_t *text = mmoe_tokenizer_decode(s->rt->model->tokenizer, token, &length);
    put(s, token, 4);
    put(s, done, 1);
    if (done) return MMOE_OK;
    put_bytes(s, text, length < reply_left(s) ? length : reply_left(s));
    return MMOE_OK;
}

static mmoe_status routes(mmoe_session *s) {
    const uint32_t bytes = 2u * s->rt->model->layers * s->rt->model->top_k;
    if (bytes > reply_left(s)) return MMOE_E_UNSUPPORTED;
    put_bytes(s, s->rt->routes, bytes);
    return MMOE_OK;
}

static mmoe_status sampling(mmoe_session *s, payload in) {
    if (in.length != 12) return MMOE_E_ARGUMENT;
    mmoe_sampling wanted = {.top_k = get_u32(in.data + 4), .seed = get_u32(in.data + 8)};
    memcpy(&wanted.temperature, in.data, 4);
    const float t = wanted.temperature;
    if (!(t == 0.0f || (t >= LEAST_TEMPERATURE && t <= MOST_TEMPERATURE))) return MMOE_E_ARGUMENT;
    s->coming = wanted;
    return MMOE_OK;
}

static mmoe_status score(mmoe_session *s, payload in) {
    if (in.length != 4) return MMOE_E_ARGUMENT;
    const uint32_t token = get_u32(in.data), vocab_size = s->rt->model->vocab_size;
    if (token >= vocab_size) return MMOE_E_TOKEN;
    const float *logits = mmoe_logits(s->rt);
    const mmoe_score all = mmoe_score_f32(logits, NULL, vocab_size);
    put_bytes(s, logits + token, 4);
    put_bytes(s, &all.largest, 4);
    put_bytes(s, &all.total, 4);
    return MMOE_OK;
}

static mmoe_status selftest(mmoe_session *s, payload in) {
    if (in.length != 1 || in.data[0] >= mmoe_selftest_count()) return MMOE_E_ARGUMENT;
    if (s->rt->model->arena_bytes < MMOE_SELFTEST_BYTES) return MMOE_E_UNSUPPORTED;
    s->generating = 0;
    const mmoe_selftest test = mmoe_selftest_run(in.data[0], s->rt->arena);
    mmoe_paint_arena(s->rt);
    mmoe_reset(s->rt);
    put(s, mmoe_selftest_count(), 1);
    put(s, test.ticks, 8);
    put(s, test.crc, 4);
    put(s, test.expected, 4);
    put_string(s, test.name);
    return MMOE_OK;
}

#ifdef MMOE_UPDATES
static mmoe_status flash_read(mmoe_session *s, payload in) {
    if (in.length != 6 || get_u16(in.data + 4) > MAX_FLASH) return MMOE_E_ARGUMENT;
    const uint32_t length = get_u16(in.data + 4);
    return mmoe_update_read(reply_room(s, length), get_u32(in.data), length);
}

static mmoe_status flash_crc(mmoe_session *s, payload in) {
    uint32_t crc = 0;
    if (in.length != 8) return MMOE_E_ARGUMENT;
    const mmoe_status status = mmoe_update_crc(get_u32(in.data), get_u32(in.data + 4), &crc);
    put(s, crc, 4);
    return status;
}

static mmoe_status switch_table(mmoe_session *s, payload in) {
    if (in.length == 0) return mmoe_update_reopen(s);
    return in.length == 8 ? mmoe_update_switch(s, get_u32(in.data), get_u32(in.data + 4)) : MMOE_E_ARGUMENT;
}

static mmoe_status use_flash(mmoe_session *s, uint8_t type, payload in) {
    const mmoe_status status = mmoe_pager_settle();
    if (status != MMOE_OK) return status;
    switch (type) {
    case FLASH_READ: return flash_read(s, in);
    case FLASH_CRC: return flash_crc(s, in);
    case FLASH_ERASE:
        if (in.length != 9) return MMOE_E_ARGUMENT;
        return mmoe_update_erase(s, get_u32(in.data), get_u32(in.data + 4), in.data[8] & ERASE_ANYTHING);
    case FLASH_PROGRAM:
        if (in.length < 4) return MMOE_E_ARGUMENT;
        return mmoe_update_program(s, get_u32(in.data), in.data + 4, in.length - 4);
    default: return switch_table(s, in);
    }
}
#endif

static mmoe_status execute(mmoe_session *s, uint8_t type, payload in) {
    switch (type) {
    case IDENTIFY: return identify(s);
    case RESET: return reset(s, in);
    case STEP: return in.length == 4 ? take(s, in, type) : MMOE_E_ARGUMENT;
    case LOGITS: return logits(s, in);
    case STATISTICS: return statistics(s);
    case PROFILE: return profile(s, in);
    case ENCODE: return encode(s, in);
    case PROMPT: return prompt(s, in);
    case NEXT: return next(s);
    case ROUTES: return routes(s);
    case LAYERS: return layers(s, in);
    case PREFILL:
    case WINDOWS: return take(s, in, type);
    case TIMELINE: return timeline(s, in);
    case SAMPLING: return sampling(s, in);
    case SCORE: return score(s, in);
    case SELFTEST: return selftest(s, in);
#ifdef MMOE_UPDATES
    case FLASH_READ:
    case FLASH_ERASE:
    case FLASH_PROGRAM:
    case FLASH_CRC:
    case SWITCH: return use_flash(s, type, in);
#endif
    default: return MMOE_E_UNSUPPORTED;
    }
}

/* body: an intact request with its CRC-32 */
void mmoe_session_request(mmoe_session *s, uint8_t *body, uint32_t length) {
    const uint8_t type = body[0], sequence = body[1];
    const uint32_t crc = get_u32(body + length - 4);
    if (type & REPLY) return; /* our own reply, come back */
    if (sequence == 0 && type != IDENTIFY) return;
    const int repeated = s->reply_length && sequence && s->answered_sequence == sequence && s->answered_crc == crc;
    if (!repeated) {
        const payload in = {body + MMOE_FRAME_HEAD_BYTES, length - MMOE_FRAME_HEAD_BYTES - 4};
        const uint32_t head = MMOE_FRAME_HEAD_BYTES + 4; /* type, sequence, status */
        s->reply_length = head;
        s->reply[0] = type | REPLY;
        s->reply[1] = sequence;
        const mmoe_status status = execute(s, type, in);
        if (status != MMOE_OK) s->reply_length = head;
        for (uint32_t i = 0; i < 4; i++) s->reply[2 + i] = (uint8_t)((uint32_t)(int32_t)status >> 8 * i);
        s->reply_length = mmoe_frame_seal(s->reply, s->reply_length);
        s->answered_sequence = sequence;
        s->answered_crc = crc;
    }
    mmoe_frame_send(s->reply, s->reply_length);
}
