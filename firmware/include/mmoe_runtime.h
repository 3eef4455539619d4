/* SPDX-License-Identifier: Apache-2.0
 *
 * What an emitted model is made of, and the runtime that runs it. No allocation: every byte is static, its size known
 * to the linker. One runtime at a time (one model in an image).
 */
#ifndef MMOE_RUNTIME_H
#define MMOE_RUNTIME_H

#include <stdint.h>

#include "mmoe_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MMOE_ABI 7 /* changes whenever an emitted file of an older version must not be built */

/* One expert matrix inside a page: byte offsets from the start of the page (SPEC.md 6). */
typedef struct {
    uint32_t rows;
    uint16_t columns;
    uint16_t bits;
    uint32_t weights, group_scales, row_scales;
} mmoe_page_matrix;

/* The MoE block of one layer. */
typedef struct mmoe_moe {
    uint16_t layer;        /* number among those that have experts */
    uint16_t hidden;       /* d */
    uint16_t expert_width; /* f */
    uint16_t shared_width; /* 0: none */
    mmoe_router router;    /* of experts from inputs (hidden); all 0: dense */
    const mmoe_matrix *shared_gate_up, *shared_down; /* NULL when shared_width is 0 */
    const float *shared_gate; /* (hidden); NULL: the shared expert counts as it is */
    const struct mmoe_moe *next; /* the next one with experts, to guess its experts; NULL in the last one */
} mmoe_moe;

#define MMOE_MAX(a, b) ((a) > (b) ? (a) : (b))
#define MMOE_MIN(a, b) ((a) < (b) ? (a) : (b))

/* Scratch of mmoe_op_linear with a chunk of tokens: two pointers for each */
#define MMOE_LINEAR_SCRATCH_BYTES(chunk, columns)                                     \
    ((chunk) > 1 ? MMOE_MATMUL_SCRATCH_BYTES(columns, MMOE_MIN(chunk, MMOE_BATCH)) +  \
                       16 * MMOE_MIN(chunk, MMOE_BATCH)                               \
                 : 0)

/* Tokens of a chunk that go through an FFN together: so many that what they need for it is small beside the chunk's own buffers */
#define MMOE_MOE_BATCH(chunk) MMOE_MIN(chunk, MMOE_MIN(MMOE_MAX((chunk) / 4, MMOE_AT_ONCE), 16))

/* Scratch of mmoe_op_moe: the router's scores; what a batch of tokens goes through an FFN with (gate/up products, their
 * quantized form); outputs, one for each expert of a token or each token of a batch; for a chunk, who chose which expert, and
 * four pointers for each token of a batch. */
#define MMOE_MOE_SCRATCH_BYTES(chunk, hidden, experts, top_k, expert_width, shared_width)                               \
    (MMOE_PAD(8 * (experts), 16) +                                                                                      \
     MMOE_MOE_BATCH(chunk) * (MMOE_PAD(8 * MMOE_MAX(expert_width, shared_width), 16) +                                  \
                              MMOE_VECTOR_BYTES(MMOE_MAX(expert_width, shared_width))) +                                \
     MMOE_MAX(top_k, MMOE_MOE_BATCH(chunk)) * MMOE_PAD(4 * (hidden), 16) +                                              \
     ((chunk) > 1 ? MMOE_PAD(9 * (chunk) * (top_k) + 4 * ((experts) + 1), 16) + 32 * MMOE_MOE_BATCH(chunk) +            \
                        MMOE_MATMUL_SCRATCH_BYTES(MMOE_MAX(hidden, MMOE_MAX(expert_width, shared_width)),               \
                                                  MMOE_MOE_BATCH(chunk))                                                \
                  : 0))

typedef struct mmoe_runtime mmoe_runtime;

typedef enum { MMOE_POLICY_LRU = 0, MMOE_POLICY_LFU = 1, MMOE_POLICY_WAIT = 2 } mmoe_policy; /* SPEC.md 7.2 */

/* Where an expert is computed (SPEC.md 7.1) */
typedef enum {
    MMOE_PLACE_CACHED = 0,
    MMOE_PLACE_RESIDENT = 1, /* in a slot that it keeps once it is there */
    MMOE_PLACE_IN_PLACE = 2, /* where it lies in mapped storage */
} mmoe_place;

/* A token in tables: 16 bits, or 32 where the vocabulary needs them (MMOE_WIDE_TOKENS, for every file) */
#ifdef MMOE_WIDE_TOKENS
typedef uint32_t mmoe_token;
#else
typedef uint16_t mmoe_token;
#endif

/* Tokenizer tables (SPEC.md 4). Merges are sorted by (left, right); a merge's rank is its index in rank order. */
typedef struct { mmoe_token left, right, result, rank; } mmoe_merge;
typedef struct {
    uint32_t vocab_size;
    uint32_t merge_count;
    const mmoe_token *byte_token;  /* (256): the token of one byte */
    const mmoe_merge *merges;      /* (merge_count) */
    const uint32_t *text_offset;   /* (vocab_size + 1) into text; special tokens are empty */
    const uint8_t *text;
} mmoe_tokenizer;

/* Everything the runtime knows of a model; emitted as one const object. */
typedef struct {
    uint16_t abi;
    const char *name;
    uint8_t model_id[32]; /* sha256 of the quantized model file */
    uint8_t build_id[32]; /* sha256 over everything that was emitted from */
    uint32_t vocab_size, context;
    uint16_t chunk;                      /* tokens that one pass takes at most, at least 1 */
    uint16_t layers;                     /* that have experts; all where the model has none */
    uint16_t hidden, experts, top_k;
    uint32_t arena_bytes, kv_bytes;      /* kv_bytes: one layer */
    uint32_t logits_offset;              /* float (vocab_size) in the arena, valid after mmoe_step and mmoe_finish */
    uint32_t expert_bytes;               /* one expert; 0 when dense */
    uint16_t slots;                      /* expert slots in SRAM; 0: every expert is used in place */
    uint16_t policy;                     /* mmoe_policy */
    const uint8_t *expert_place;         /* mmoe_place, (layers * experts); NULL: all are MMOE_PLACE_CACHED */
    const uint16_t *first_slot;          /* (layers + 1): slots of layer l are first_slot[l]..first_slot[l + 1] - 1; NULL: shared */
    uint16_t prefetch;                   /* experts of the next layer that are loaded ahead, <= top_k */
    float cache_margin;                  /* how much a decode step favours experts in slots (SPEC.md 7.3); 0: not at all */
    const uint8_t *expert_image;         /* NULL when dense, or when only the port can read it */
    mmoe_page_matrix expert_gate_up, expert_down; /* the same in every expert */
    uint16_t op_count;
    const char *const *op_names;
    mmoe_status (*pass)(mmoe_runtime *rt);
    const mmoe_tokenizer *tokenizer;
    const mmoe_token *prefix_tokens, *suffix_tokens;
    uint16_t prefix_count, suffix_count;
    uint32_t stop_token;
    uint16_t max_new_tokens;
    /* Of a classifier, which has windows of a signal in place of tokens, and no tokenizer; 0 and NULL of a language model */
    uint16_t window; /* numbers of one */
    float *windows;  /* (chunk, window): fed and not run yet */
    float *pool;     /* (2, hidden): sums over the positions, and those that a pass makes of them */
} mmoe_model;

extern const mmoe_model mmoe_the_model; /* emitted */

/* Of one layer's experts */
typedef struct {
    uint32_t hits, misses;
    uint64_t bytes_loaded;
    uint64_t load_ticks;  /* of its reads, from start to end */
    uint64_t stall_ticks; /* the model stood still for them */
} mmoe_layer_statistics;

typedef struct {
    uint32_t steps; /* tokens taken */
    uint32_t load_errors;
    uint32_t prefetched, prefetch_used; /* pages read ahead, and those of them that were wanted before they were evicted */
    uint32_t kept;                      /* pages that were still in their slots when the runtime started */
    uint64_t check_ticks;               /* spent on CRC-32 of pages */
    mmoe_layer_statistics *layer;       /* (layers) */
} mmoe_statistics;

struct mmoe_runtime {
    const mmoe_model *model;
    uint8_t *arena; /* (arena_bytes), 16-byte aligned */
    uint8_t *kv;    /* (layers, kv_bytes), 16-byte aligned */
    uint32_t position; /* of the first token of a pass */
    uint32_t *tokens;  /* (chunk): fed and not run yet */
    uint32_t fed;
    uint32_t rows;     /* tokens that the operations of a pass work on: row i of a buffer is token i */
    uint8_t head;      /* 1: this pass ends with logits of its last token */
    uint8_t decode;    /* 1: the next pass is a decode step, its token no part of a prompt */
    uint8_t pool_side; /* of a classifier: which half of its pool holds the sums */
    mmoe_statistics statistics;
    /* per operation, (op_count) */
    uint64_t *op_ticks;
    uint32_t *op_calls;
    uint64_t op_started;
    uint8_t *routes; /* (2, layers, top_k): experts of the last token, then hit flags */
};

/* --- the operations an emitted pass calls, in order; each returns 0 or a negative status ------------------------------ */

/* A buffer holds rt->rows rows, one a token, without gaps: float (n), or a quantized vector of MMOE_VECTOR_BYTES(n). */

void mmoe_op_done(mmoe_runtime *rt, uint16_t op); /* closes one line of the profile */

mmoe_status mmoe_op_embed(mmoe_runtime *rt, const mmoe_matrix *w, float *x);
/* u (window): the window, less the means, times the gains of its channels; q = u quantized */
mmoe_status mmoe_op_window(mmoe_runtime *rt, const float *mean, const float *gain, uint32_t channels, float *u, mmoe_vector *q);
/* y = RMSNorm(x); q = y quantized */
mmoe_status mmoe_op_rmsnorm(mmoe_runtime *rt, const float *x, const float *w, uint32_t n, float eps, float *y, mmoe_vector *q);
/* scratch: MMOE_LINEAR_SCRATCH_BYTES; NULL with a chunk of 1 */
mmoe_status mmoe_op_linear(mmoe_runtime *rt, const mmoe_matrix *w, const mmoe_vector *x, float *y, void *scratch);
mmoe_status mmoe_op_bias(mmoe_runtime *rt, const float *b, uint32_t n, float *y); /* y (n) += b */
/* Norms `count` parts of n floats in place, from `offset` on in rows of `stride` floats. */
mmoe_status mmoe_op_norm_parts(mmoe_runtime *rt, float *x, uint32_t stride, uint32_t offset, uint32_t count, uint32_t n,
                               const float *w, float eps);
/* sum += y = W x */
mmoe_status mmoe_op_linear_add(mmoe_runtime *rt, const mmoe_matrix *w, const mmoe_vector *x, float *y, float *sum, void *scratch);
/* qkv: the heads' outputs take the place of the queries; q: the same quantized, and MMOE_ATTENTION_SCRATCH_BYTES before */
mmoe_status mmoe_op_attention(mmoe_runtime *rt, const mmoe_attention *a, uint16_t layer, float *qkv, mmoe_vector *q);
/* x (hidden) += MoE; n: the normed x for the router, used up; q: the same quantized */
mmoe_status mmoe_op_moe(mmoe_runtime *rt, const mmoe_moe *moe, float *n, const mmoe_vector *q, float *x, void *scratch);
/* The last layer of a language model, where nothing but keys and values is needed of tokens before the last one. Of them y has only
 * the rows from `from` on. */
mmoe_status mmoe_op_linear_last(mmoe_runtime *rt, const mmoe_matrix *w, uint32_t from, const mmoe_vector *x, float *y, void *scratch);
/* From here on the pass has one row, that of its last token: q and x (n) hold it alone. */
mmoe_status mmoe_op_attention_last(mmoe_runtime *rt, const mmoe_attention *a, uint16_t layer, float *qkv, mmoe_vector *q, float *x,
                                   uint32_t n);
/* So has that of a classifier from here on: the mean of x (n) over all positions. */
mmoe_status mmoe_op_pool(mmoe_runtime *rt, const float *x, uint32_t n, float *mean);

/* --- the runtime as a firmware calls it --------------------------------------------------------------------------------- */

/* Checks the ABI, the expert image, and that the large buffers and a mapped image begin at multiples of 16 bytes (else
 * MMOE_E_ARGUMENT). *rt is set also on failure: it then answers what needs no model. */
mmoe_status mmoe_init(mmoe_runtime **rt);
void mmoe_reset(mmoe_runtime *rt);              /* position 0 */
/* Takes a token. The model runs when a chunk of them waits and another comes: MMOE_E_TOKEN and MMOE_E_CONTEXT are of this
 * token, any other status is of the tokens that waited, which are dropped. */
mmoe_status mmoe_feed(mmoe_runtime *rt, uint32_t token);
/* The same for a classifier: float (window), which need not be aligned. MMOE_E_UNSUPPORTED is that the model takes the other. */
mmoe_status mmoe_feed_window(mmoe_runtime *rt, const void *window);
/* Runs what waits, at least one token; logits of the last one in the arena. */
mmoe_status mmoe_finish(mmoe_runtime *rt);
/* One decode step: feeds a token that is no part of a prompt, and finishes. Where cache_margin is 0 that makes no difference. */
mmoe_status mmoe_step(mmoe_runtime *rt, uint32_t token);
const float *mmoe_logits(const mmoe_runtime *rt);        /* (vocab_size) */

/* The firmware itself: starts the model, then answers requests for ever. A port calls it when it can receive and send. */
void mmoe_main(void);

/* The same in parts, for a port with a loop of its own, all of them on one thread: the start, once; a received byte, with
 * what it completes; an answer to a text of the application's. An answer empties the context, as a prompt over serial does. */
typedef void mmoe_on_text(const char *text, uint32_t length, void *user); /* a token's bytes, without a zero */
void mmoe_main_start(void);
void mmoe_main_receive(uint8_t byte);
mmoe_status mmoe_main_answer(const char *text, uint32_t length, mmoe_on_text *on_text, void *user);

/* --- what a port provides (firmware/ports) -------------------------------------------------------------------------------- */

/* Reads that the port has at once, at most; where it is more than one, they are answered in the order they were started. */
#ifndef MMOE_READS
#define MMOE_READS 1
#endif
/* Starts to copy length bytes of the expert image at offset to dst. dst, 16-byte aligned, belongs to the driver until
 * mmoe_port_read_done says otherwise; offset and length are multiples of 4. */
mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length);
/* Of the first read that was not answered yet: 1 finished, 0 still running, or a negative status, the read being over. */
int mmoe_port_read_done(void);
/* Of the first read that is running: how many of its first bytes are in place for certain; 0 where the driver does not know. */
uint32_t mmoe_port_read_progress(void);
/* When the read that was answered last ended, in ticks. It may be earlier than read_done was asked. */
uint64_t mmoe_port_read_ended(void);
#ifdef MMOE_UPDATES
/* Where the storage can be written, in builds whose experts can be replaced: called while no read is under way, back when it is
 * done. The rules are those of a NOR flash: whole sectors are erased to 0xFF; programming only clears bits, in whole units of the
 * smallest write. MMOE_E_ARGUMENT: offset or length is no multiple, or beyond the end. MMOE_E_PAGE_READ: it failed.
 * data: 16-byte aligned */
mmoe_status mmoe_port_flash_erase(uint32_t offset, uint32_t length);
mmoe_status mmoe_port_flash_program(uint32_t offset, const void *data, uint32_t length);
#endif
/* Monotonic; unit 1 / mmoe_port_tick_hz(). */
uint64_t mmoe_port_ticks(void);
uint32_t mmoe_port_tick_hz(void);
const char *mmoe_port_board(void);
/* Next received byte, or -1 when there is none; may sleep until one comes when wait is not 0. */
int mmoe_port_read_byte(int wait);
void mmoe_port_write(const void *data, uint32_t length);
/* Bytes reserved for the stack, and the most that was ever used; 0 and 0 where the port does not know. */
void mmoe_port_stack(uint32_t *reserved, uint32_t *used);
uint32_t mmoe_port_boot_count(void);
#ifdef MMOE_RETAINED
/* Where RAM outlives a reset: resets the processor and its peripherals. */
void mmoe_port_restart(void);
#endif

#ifdef __cplusplus
}
#endif
#endif
