/* SPDX-License-Identifier: Apache-2.0
 *
 * Forward steps of the emitted model: the logits of every step have the golden's CRC-32. Experts come from the image. */
#include <zephyr/ztest.h>

#include "mmoe_runtime.h"
#define STEPS_BITS 8
#include "steps.h"

static mmoe_runtime *rt;

static void start(void *fixture) {
    ARG_UNUSED(fixture);
    zassert_equal(mmoe_init(&rt), MMOE_OK);
}

static uint32_t crc_of_logits(void) { return mmoe_crc32(0, mmoe_logits(rt), 4 * rt->model->vocab_size); }

ZTEST(steps, test_every_logit_is_the_goldens) {
    for (int i = 0; i < STEPS; i++) {
        zassert_equal(mmoe_step(rt, step_token[i]), MMOE_OK, "step %d", i);
        zassert_equal(crc_of_logits(), step_crc[i], "step %d", i);
    }
    zassert_equal(rt->statistics.load_errors, 0);
    zassert_true(rt->statistics.layer[0].misses > 0);
}

ZTEST(steps, test_reset_starts_over) {
    zassert_equal(mmoe_step(rt, step_token[1]), MMOE_OK);
    mmoe_reset(rt);
    zassert_equal(mmoe_step(rt, step_token[0]), MMOE_OK);
    zassert_equal(crc_of_logits(), step_crc[0]);
}

ZTEST(steps, test_bad_requests_are_named) {
    zassert_equal(mmoe_step(rt, rt->model->vocab_size), MMOE_E_TOKEN);
    rt->position = rt->model->context;
    zassert_equal(mmoe_step(rt, 3), MMOE_E_CONTEXT);
}

ZTEST_SUITE(steps, NULL, NULL, start, NULL, NULL);
