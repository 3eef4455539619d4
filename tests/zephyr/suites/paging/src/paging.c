/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts paged through Zephyr's flash API out of a simulated flash: the golden's logits, and a name for every fault. */
#include <zephyr/storage/flash_map.h>
#include <zephyr/ztest.h>

#include "mmoe_runtime.h"
#include "port.h"
#define STEPS_BITS 4
#include "steps.h"

static const uint8_t image[] = {
#include <experts.bin.inc>
};
enum { HEADER_BYTES = 64, BLOCK = 1024, WORD = 4, ERASED = 4096 /* a multiple of every board's erase size */ };

static const struct flash_area *area;
static uint8_t block[BLOCK];
static mmoe_runtime *rt;

/* Writes the image with one byte changed; flip 0 changes none. */
static void write_image(uint32_t at, uint8_t flip) {
    zassert_true(ROUND_UP(sizeof image, ERASED) <= area->fa_size);
    zassert_ok(flash_area_erase(area, 0, ROUND_UP(sizeof image, ERASED)));
    for (uint32_t offset = 0; offset < sizeof image; offset += BLOCK) {
        const uint32_t length = MIN(BLOCK, sizeof image - offset);
        memset(block, 0xFF, sizeof block);
        memcpy(block, image + offset, length);
        if (at >= offset && at - offset < length) block[at - offset] ^= flip;
        zassert_ok(flash_area_write(area, (off_t)offset, block, ROUND_UP(length, WORD)));
    }
}

/* Each test has a thread of its own; the model's must not keep the one that reads from running. */
static void lower_priority(void *fixture) {
    ARG_UNUSED(fixture);
    k_thread_priority_set(k_current_get(), CONFIG_MMOE_EMBED_THREAD_PRIORITY);
}

static void *open_flash(void) {
    zassert_ok(flash_area_open(DT_FIXED_PARTITION_ID(DT_CHOSEN(mmoe_experts)), &area));
    zassert_ok(mmoe_experts_start());
    return NULL;
}

static void run_steps(void) {
    for (int i = 0; i < STEPS; i++) {
        zassert_equal(mmoe_step(rt, step_token[i]), MMOE_OK, "step %d", i);
        zassert_equal(mmoe_crc32(0, mmoe_logits(rt), 4 * rt->model->vocab_size), step_crc[i], "step %d", i);
    }
}

ZTEST(paging, test_every_logit_is_the_goldens) {
    write_image(0, 0);
    zassert_equal(mmoe_init(&rt), MMOE_OK);
    run_steps();
    zassert_equal(rt->statistics.load_errors, 0);
    zassert_true(rt->statistics.layer[0].misses > 4, "three slots for eight experts: they were read again");
}

ZTEST(paging, test_damaged_page_is_named_and_the_model_lives) {
    mmoe_status status = MMOE_OK;
    write_image(sizeof image - 100, 0x10);
    zassert_equal(mmoe_init(&rt), MMOE_OK);
    for (int i = 0; i < STEPS && status == MMOE_OK; i++) status = mmoe_step(rt, step_token[i]);
    zassert_equal(status, MMOE_E_PAGE_CRC);
    write_image(0, 0);
    mmoe_reset(rt);
    run_steps();
}

ZTEST(paging, test_image_of_another_build_is_refused) {
    write_image(24, 0xFF); /* the model's id */
    zassert_equal(mmoe_init(&rt), MMOE_E_IMAGE);
    write_image(HEADER_BYTES - 1, 0x01);
    zassert_equal(mmoe_init(&rt), MMOE_E_IMAGE);
}

ZTEST_SUITE(paging, NULL, open_flash, lower_priority, NULL, NULL);
