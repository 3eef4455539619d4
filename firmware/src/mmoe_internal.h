/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_INTERNAL_H
#define MMOE_INTERNAL_H

/* What the files of the runtime share among themselves. */

#include "mmoe_runtime.h"

#define MMOE_MAX_TOP_K 16

#ifdef MMOE_THREADS
/* The port may split them between threads, bit for bit: rows of a product, heads of an attention. */
void mmoe_port_matvec(const mmoe_matrix *w, const mmoe_vector *x, float *y);
void mmoe_port_matmul(const mmoe_matrix *w, const mmoe_vector *const *x, float *const *y, uint32_t count, void *scratch);
mmoe_status mmoe_port_attention(const mmoe_attention *a, float *qkv, void *kv, uint32_t position, float *out, void *scratch);
#define mmoe_matvec mmoe_port_matvec
#define mmoe_matmul mmoe_port_matmul
#define mmoe_attention_s8 mmoe_port_attention
#endif

/* --- memory.c: every array whose size depends on the model ------------------------------------------------------------- */

#define MMOE_NO_SLOT 0xFFFFu

typedef enum {
    MMOE_SLOT_EMPTY = 0,
    MMOE_SLOT_LOADING, /* the driver owns it */
    MMOE_SLOT_ARRIVED, /* its CRC-32 is not known to be right yet */
    MMOE_SLOT_READY,
} mmoe_slot_state;

typedef struct {
    uint32_t used; /* when its expert was last asked for, in uses of experts */
    uint16_t expert;
    uint8_t state;  /* mmoe_slot_state */
    uint8_t needed; /* 1: the token still needs it, never evicted */
    uint8_t ahead;  /* 1: loaded on a guess and not wanted yet */
    uint16_t whole; /* ~expert: its whole page lies in the slot's memory, whatever the state; also after a reset, in RAM that
                     * outlives one */
} mmoe_slot;
_Static_assert(sizeof(mmoe_slot) == 12, "a plan counts so many bytes for a slot: SLOT_STATE_BYTES of mmoe_embed/plan.py");

/* An expert that waits to be read */
typedef struct {
    uint32_t used; /* as mmoe_slot.used */
    uint16_t expert;
} mmoe_wanted;

/* One thing that happened (SPEC.md 8.1, timeline) */
typedef struct {
    uint32_t ticks; /* low 32 bits */
    uint8_t kind;   /* mmoe_event_kind */
    uint8_t reserved;
    uint16_t argument;
} mmoe_event;

/* What the image's table says of an expert's page */
typedef struct { uint32_t offset, crc; } mmoe_page_entry;

typedef struct {
    uint8_t *arena, *kv; /* (arena_bytes), (layers, kv_bytes) */
    uint8_t *slots;      /* (slots, expert_bytes) */
    uint32_t *tokens;    /* (chunk) */
    uint8_t *routes;     /* (2, layers, top_k) */
    uint64_t *op_ticks;  /* (op_count) */
    uint32_t *op_calls;  /* (op_count) */
    mmoe_layer_statistics *layer_statistics; /* (layers) */
    mmoe_slot *slot;     /* (slots) */
    /* Per expert of the image, (layers * experts): its slot or MMOE_NO_SLOT; where it is used in place, 0 once its
     * CRC-32 was found right. And what the policy remembers of it (policy.c). */
    uint16_t *expert_slot;
    uint16_t *expert_uses;
    mmoe_page_entry *table; /* (layers * experts), or NULL where the image is mapped and its own table does */
    mmoe_wanted *queue;     /* (experts): misses of one layer */
    mmoe_event *timeline;   /* (timeline_events) */
    uint32_t timeline_events;
} mmoe_memory;

extern const mmoe_memory mmoe_the_memory;

/* Whether kernels may read 16 bytes at once from here on (mmoe_kernels.h); NULL is aligned */
static inline int mmoe_is_aligned(const void *p) { return (uintptr_t)p % 16 == 0; }

/* --- timeline.c: what happened when --------------------------------------------------------------------------------------- */

typedef enum {
    MMOE_EVENT_STEP = 1,
    MMOE_EVENT_OP,
    MMOE_EVENT_READ,
    MMOE_EVENT_READ_END,
    MMOE_EVENT_WAIT,
    MMOE_EVENT_WAIT_END,
    MMOE_EVENT_CHECK,
    MMOE_EVENT_CHECK_END,
    MMOE_EVENT_FFN,
    MMOE_EVENT_FFN_END,
} mmoe_event_kind;

#define MMOE_SHARED_EXPERT 0xFFFFu /* argument of MMOE_EVENT_FFN */

void mmoe_timeline_clear(void);
void mmoe_timeline_add(uint64_t ticks, mmoe_event_kind kind, uint32_t argument);
uint32_t mmoe_timeline_recorded(void);         /* since it was cleared */
mmoe_event mmoe_timeline_event(uint32_t index); /* one of the last timeline_events recorded */

#ifdef MMOE_TIMELINE
#define MMOE_NOTE_AT(ticks, kind, argument) mmoe_timeline_add((ticks), (kind), (argument))
#define MMOE_NOTE(kind, argument) mmoe_timeline_add(mmoe_port_ticks(), (kind), (argument))
#else
#define MMOE_NOTE_AT(ticks, kind, argument) ((void)0)
#define MMOE_NOTE(kind, argument) ((void)0)
#endif

/* --- image.c: the expert image (SPEC.md 6) ------------------------------------------------------------------------------ */

#define MMOE_HEADER_BYTES 64u
#define MMOE_ENTRY_BYTES 12u

/* Where the parts of an open image lie: offsets in it, and sizes */
typedef struct {
    uint32_t count;     /* of experts */
    uint32_t alignment; /* of pages, a power of two */
    uint32_t bytes;     /* of the whole image */
    uint32_t table;     /* the one in use */
#ifdef MMOE_UPDATES
    uint32_t copies, copy_bytes; /* of the table: the first of two, and how far the second one is behind it */
    uint32_t sequence;           /* of the table in use; 0: the one behind the header */
#endif
} mmoe_image_layout;

/* Checks the image against the model. MMOE_E_IMAGE, or what reading it gave. */
mmoe_status mmoe_image_open(const mmoe_model *model, const mmoe_memory *memory);
mmoe_page_entry mmoe_image_entry(uint32_t expert);
const mmoe_image_layout *mmoe_image_parts(void); /* in builds with MMOE_UPDATES */
/* Copies a small part of the image; the driver must be idle. to: 16-byte aligned, and the driver's after a time-out */
mmoe_status mmoe_image_read(void *to, uint32_t offset, uint32_t length);
/* 1: the driver still has such a part, although the time for it is over: no read may start. */
int mmoe_image_is_late(void);
/* An expert's entry in the table at offset `table`; MMOE_E_IMAGE when it names no page of an image that is so. */
mmoe_status mmoe_image_read_entry(const mmoe_image_layout *at, uint32_t table, uint32_t expert, mmoe_page_entry *entry);
/* How long a read may take, in ticks */
uint64_t mmoe_image_timeout_ticks(void);

/* --- policy.c: which expert a full cache drops --------------------------------------------------------------------------- */

void mmoe_policy_open(const mmoe_model *model, const mmoe_memory *memory);
/* As if no expert had been used yet. */
void mmoe_policy_forget(void);
void mmoe_policy_begin_pass(void);
/* A layer has chosen its experts; mmoe_policy_use is called for each of them next. */
void mmoe_policy_begin_layer(uint32_t layer);
/* The model asked for an expert. Returns when, for mmoe_slot.used. */
uint32_t mmoe_policy_use(uint16_t expert);
uint32_t mmoe_policy_now(void); /* the present moment, in the same unit */
/* The slot of the highest rank is evicted; no two are equal. */
uint64_t mmoe_policy_rank(const mmoe_slot *slot);

/* --- pager.c: experts from the image into slots -------------------------------------------------------------------------- */

/* Checks the image against the model and empties the slots. MMOE_E_IMAGE, or what reading it gave. */
mmoe_status mmoe_pager_open(const mmoe_model *model, const mmoe_memory *memory, mmoe_statistics *statistics);
/* Forgets every loaded expert. */
void mmoe_pager_empty(void);
/* A new pass begins: what the last one still held is free. */
void mmoe_pager_begin_pass(void);
/* Asks for experts of a layer (numbers of the image, each once, no more than surely find a slot). Sets hit[i] to 1 where one is
 * loaded, and starts to read the first of the others. */
void mmoe_pager_want(const uint16_t *expert, uint32_t count, uint8_t *hit);
/* Names experts that may be wanted soon (count <= 16): read when no wanted one waits, forgotten at the next mmoe_pager_want or
 * when called with none. */
void mmoe_pager_want_later(const uint16_t *expert, uint32_t count);
/* Lets reads go on: to be called now and then while something else is computed. */
void mmoe_pager_poll(void);
/* The page of a wanted expert that is loaded and known to be right; NULL: it must be taken. */
const uint8_t *mmoe_pager_ready(uint16_t expert);
/* Waits for the first `bytes` bytes of a wanted expert's page; misses must be taken in the order they were wanted. Only when all
 * of its expert_bytes were taken is its CRC-32 known to be right: nothing made of a part may be used before. The page stays until
 * it is released. */
mmoe_status mmoe_pager_take(uint16_t expert, uint32_t bytes, const uint8_t **page);
/* 1: the expert is in a slot, or being read into one. */
int mmoe_pager_holds(uint16_t expert);
void mmoe_pager_release(uint16_t expert);
/* Waits until no read is under way, and forgets those that were to come. */
mmoe_status mmoe_pager_settle(void);

/* --- tokenizer.c (SPEC.md 4) --------------------------------------------------------------------------------------------- */

/* Length of the piece at the front of a text: up to the next space, its own first byte aside. length >= 1 */
uint32_t mmoe_tokenizer_piece(const uint8_t *text, uint32_t length);
/* Encodes one piece; token: room for length tokens. Returns their number. */
uint32_t mmoe_tokenizer_encode_piece(const mmoe_tokenizer *t, const uint8_t *piece, uint32_t length, mmoe_token *token);
/* Encodes a text. Returns the number of tokens, or MMOE_E_TEXT when the room (capacity) does not do: at any moment it must
 * hold the tokens of the pieces before and the bytes of the present one. */
int32_t mmoe_tokenizer_encode(const mmoe_tokenizer *t, const uint8_t *text, uint32_t length, mmoe_token *token,
                              uint32_t capacity);
/* The bytes of a token; special tokens and unknown ones have none. */
const uint8_t *mmoe_tokenizer_decode(const mmoe_tokenizer *t, uint32_t token, uint32_t *length);

/* --- frames.c (SPEC.md 8) ------------------------------------------------------------------------------------------------ */

#define MMOE_FRAME_BODY_BYTES 1040
#define MMOE_FRAME_HEAD_BYTES 2 /* type, sequence */
#define MMOE_FRAME_PAYLOAD_BYTES (MMOE_FRAME_BODY_BYTES - MMOE_FRAME_HEAD_BYTES - 4)
#define MMOE_LINE_BYTES 256
#define MMOE_INPUT_BYTES 512

/* Receives text commands and frames from one stream of bytes. All zero: ready. */
typedef struct {
    uint8_t body[MMOE_FRAME_BODY_BYTES]; /* type, sequence, payload, CRC-32 */
    uint16_t body_length;
    uint8_t in_frame;    /* a zero came, its frame is not over */
    uint8_t bad;         /* the frame is too long */
    uint8_t block, left; /* COBS: the code of the present block, its bytes still to come */
    uint8_t plain;       /* everything since the zero was text: perhaps that zero was noise */
    uint8_t line_full;
    uint16_t line_length;
    char line[MMOE_LINE_BYTES];
} mmoe_receiver;

typedef enum { MMOE_NOTHING = 0, MMOE_FRAME, MMOE_COMMAND, MMOE_LONG_COMMAND } mmoe_received;

/* Takes one byte. MMOE_FRAME: an intact body of body_length bytes, its CRC-32 included; MMOE_COMMAND: line, line_length
 * characters without the '%' and zero-terminated. Both hold until the next byte. */
mmoe_received mmoe_receiver_feed(mmoe_receiver *r, uint8_t byte);

/* Appends the CRC-32 to a body of `length` bytes, which must leave room for it, and returns the new length. */
uint32_t mmoe_frame_seal(uint8_t *body, uint32_t length);
/* Sends a sealed body. */
void mmoe_frame_send(const uint8_t *body, uint32_t length);

/* --- protocol.c, commands.c: requests and text commands (SPEC.md 8.1, 8.2) ------------------------------------------------ */

typedef struct {
    mmoe_runtime *rt;
    mmoe_status ready; /* what mmoe_init gave: requests that need the model are answered with it */
    uint8_t generating, ended;
    uint16_t generated;
    uint32_t next_token;    /* chosen after the last token */
    mmoe_sampling sampling; /* of this answer; temperature 0: greedy */
    mmoe_sampling coming;   /* of the next prompt's */
    /* The last reply, kept for a request that comes twice */
    _Alignas(4) uint8_t reply[MMOE_FRAME_BODY_BYTES]; /* tokens are put together in it */
    uint32_t reply_length; /* 0: none */
    uint32_t answered_crc;
    uint8_t answered_sequence;
    /* What `db` commands brought for `infer` (SPEC.md 8.2) */
    uint8_t input[MMOE_INPUT_BYTES];
    uint16_t input_size, input_count; /* bytes announced, bytes taken */
} mmoe_session;

/* --- update.c: writing the expert storage (SPEC.md 6.1, 8.1), in builds with MMOE_UPDATES ---------------------------------- */

/* Finds the table in use. copies: offset of the first copy */
mmoe_status mmoe_update_open(mmoe_image_layout *layout, uint32_t copies);
/* CRC-32 of the pages' CRC-32s: which experts the model has */
uint32_t mmoe_update_experts_crc(void);
mmoe_status mmoe_update_read(uint8_t *to, uint32_t offset, uint32_t length);
/* *crc: of what comes before; of all afterwards */
mmoe_status mmoe_update_crc(uint32_t offset, uint32_t length, uint32_t *crc);
/* MMOE_E_ARGUMENT where the model needs what lies there. anything: it is given up first, and answers MMOE_E_IMAGE from then on. */
mmoe_status mmoe_update_erase(mmoe_session *s, uint32_t offset, uint32_t length, int anything);
mmoe_status mmoe_update_program(mmoe_session *s, uint32_t offset, const uint8_t *data, uint32_t length);
/* Opens the image as at the start. */
mmoe_status mmoe_update_reopen(mmoe_session *s);
/* Makes the table that was written behind the one in use valid, once everything that it names was found right. */
mmoe_status mmoe_update_switch(mmoe_session *s, uint32_t sequence, uint32_t crc);

void mmoe_session_request(mmoe_session *s, uint8_t *body, uint32_t length);
void mmoe_session_command(mmoe_session *s, char *line, uint32_t length);
void mmoe_session_greet(void);
/* benchmark.c: `db`, `infer` and `results`. Returns 0 when the line is none of them. */
int mmoe_session_benchmark(mmoe_session *s, char *line);

/* Empties the context and runs prefix, text and suffix. *tokens: how many that were. */
mmoe_status mmoe_session_prompt(mmoe_session *s, const uint8_t *text, uint32_t length, uint32_t *tokens);
/* The next token of the answer; *done 1: there is none, *token ended it. MMOE_E_NO_PROMPT when no prompt is running. */
mmoe_status mmoe_session_next(mmoe_session *s, uint32_t *token, uint8_t *done);

/* How many of the `left` rows of a chunk go through a matrix together, most of them at most: the rest is no small one */
static inline uint32_t mmoe_next_batch(uint32_t left, uint32_t most) {
    return left <= most ? left : left < 2 * most ? MMOE_MIN(MMOE_PAD(left, 4u) / 2, most) : most;
}

/* --- rows of a chunk's buffers -------------------------------------------------------------------------------------------- */

static inline mmoe_vector *mmoe_vector_row(mmoe_vector *q, uint32_t n, uint32_t row) {
    return (mmoe_vector *)(void *)((uint8_t *)q + row * MMOE_VECTOR_BYTES(n));
}
static inline const mmoe_vector *mmoe_const_vector_row(const mmoe_vector *q, uint32_t n, uint32_t row) {
    return (const mmoe_vector *)(const void *)((const uint8_t *)q + row * MMOE_VECTOR_BYTES(n));
}

/* --- text.c: text to the host -------------------------------------------------------------------------------------------- */

void mmoe_say(const char *text);
void mmoe_say_number(uint64_t number);
void mmoe_say_lap(void);                  /* m-lap-us-N */
void mmoe_say_status(mmoe_status status); /* e-[Status -N] */

/* --- score.c: probabilities of tokens ------------------------------------------------------------------------------------ */

/* total = lanes(exp(z_i - largest)) of SPEC.md 3.1; z_i: logits[i], or logits[token[i]] where token, which need not be
 * aligned, is not NULL. */
typedef struct { float largest, total; } mmoe_score;
mmoe_score mmoe_score_f32(const float *logits, const uint8_t *token, uint32_t n);

/* --- selftest.c ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    uint64_t ticks;
    uint32_t crc, expected; /* CRC-32 of what the kernel gave, of what it must give */
} mmoe_selftest;
#define MMOE_SELFTEST_BYTES 1280 /* of scratch */
uint32_t mmoe_selftest_count(void);
/* index < mmoe_selftest_count(); scratch: MMOE_SELFTEST_BYTES bytes, 16-byte aligned */
mmoe_selftest mmoe_selftest_run(uint32_t index, uint8_t *scratch);

/* --- runtime.c ------------------------------------------------------------------------------------------------------------ */

void mmoe_clear_statistics(mmoe_runtime *rt);
/* Forgets everything in the arena, its high-water mark too. */
void mmoe_paint_arena(mmoe_runtime *rt);
/* High-water mark of the arena in bytes: what lies above was never written. */
uint32_t mmoe_arena_used(const mmoe_runtime *rt);

/* --- divide.c ------------------------------------------------------------------------------------------------------------ */

/* n / d without the compiler's 64-bit division, which is a library call on every 32-bit core. d > 0 */
uint64_t mmoe_divide(uint64_t n, uint32_t d, uint32_t *rest);

#endif
