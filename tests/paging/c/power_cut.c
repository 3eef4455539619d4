/* SPDX-License-Identifier: Apache-2.0
 *
 * The runtime on a simulated NOR flash whose power fails. A conversation that replaces experts is fed to it byte by byte, and cut
 * at every byte that the flash erases or programs; what a cut leaves is arbitrary within what a flash can leave. Each time the
 * runtime starts again, must have the logits of the model before or after, take a second conversation, and have those of a third.
 *
 * usage: power_cut SEED FLASH FIRST FROM_OLD FROM_NEW OLD NEW THIRD
 *   FLASH: what it holds at first; FIRST, FROM_OLD, FROM_NEW: what the host sent, in files; OLD, NEW, THIRD: CRC-32 of the logits
 *   of all tokens of check(), in hex. Prints how many cuts left the old and how many the new model. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmoe_internal.h"

enum { CHIP_BYTES = 1 << 15, SECTOR = 256, PAGE = 64, UNIT = 4, STREAM_BYTES = 1 << 14 };
enum { CUT = 40, FINISHED = 41 }; /* exit codes of a child */

/* Shared with the children: what outlives the power */
static struct {
    uint8_t chip[CHIP_BYTES];
    uint64_t random;
    int64_t steps; /* bytes of erasing and programming until the power fails; below 0: it does not */
    uint32_t found, third; /* the model of a life, and after its second update */
} *kept;

static void fail(const char *text) {
    fprintf(stderr, "%s\n", text);
    exit(1);
}

/* --- the flash ------------------------------------------------------------------------------------------------------------ */

static uint8_t draw(void) { /* xorshift64 */
    kept->random ^= kept->random << 13;
    kept->random ^= kept->random >> 7;
    kept->random ^= kept->random << 17;
    return (uint8_t)(kept->random >> 32);
}

/* How far an operation of `length` bytes gets; the power fails in the byte behind, when that is not all of them. */
static uint32_t spend(uint32_t length) {
    const int64_t steps = kept->steps;
    if (steps < 0 || steps > length) {
        if (steps >= 0) kept->steps -= length;
        return length;
    }
    return (uint32_t)steps < length ? (uint32_t)steps : length - 1;
}

/* Of a torn operation every byte is arbitrary in odd draws; in even ones those before the cut are done, those behind untouched. */
static void erase_sector(uint8_t *at) {
    const uint32_t done = spend(SECTOR);
    const int orderly = draw() % 2 == 0;
    for (uint32_t i = 0; i < SECTOR; i++) {
        if (done == SECTOR || (orderly && i < done)) at[i] = 0xFF;
        if (done < SECTOR && (!orderly || i == done)) at[i] |= draw();
    }
    if (done < SECTOR) _exit(CUT);
}

static void program_page(uint8_t *at, const uint8_t *from, uint32_t length) {
    const uint32_t done = spend(length);
    const int orderly = draw() % 2 == 0;
    for (uint32_t i = 0; i < length; i++) {
        if (from[i] & ~at[i]) fail("a bit was to be programmed from 0 to 1");
        if (done == length || (orderly && i < done)) at[i] = from[i];
        if (done < length && (!orderly || i == done)) at[i] &= from[i] | draw();
    }
    if (done < length) _exit(CUT);
}

mmoe_status mmoe_port_flash_erase(uint32_t offset, uint32_t length) {
    if (offset % SECTOR || length % SECTOR || offset + length > CHIP_BYTES) fail("not whole sectors");
    for (uint32_t i = 0; i < length; i += SECTOR) erase_sector(kept->chip + offset + i);
    return MMOE_OK;
}

mmoe_status mmoe_port_flash_program(uint32_t offset, const void *data, uint32_t length) {
    const uint8_t *from = data;
    if (offset % UNIT || length % UNIT || offset + length > CHIP_BYTES) fail("not whole units");
    for (uint32_t count; length; offset += count, from += count, length -= count) {
        count = PAGE - offset % PAGE;
        if (count > length) count = length;
        program_page(kept->chip + offset, from, count);
    }
    return MMOE_OK;
}

mmoe_status mmoe_port_read_start(void *dst, uint32_t offset, uint32_t length) {
    if (offset > CHIP_BYTES || length > CHIP_BYTES - offset) return MMOE_E_PAGE_READ;
    memcpy(dst, kept->chip + offset, length);
    return MMOE_OK;
}

int mmoe_port_read_done(void) { return 1; }
uint32_t mmoe_port_read_progress(void) { return 0; }
uint64_t mmoe_port_read_ended(void) { return 0; }

/* --- the rest of a board --------------------------------------------------------------------------------------------------- */

uint64_t mmoe_port_ticks(void) {
    static uint64_t now;
    return ++now;
}
uint32_t mmoe_port_tick_hz(void) { return 1000000; }
const char *mmoe_port_board(void) { return "power_cut"; }
int mmoe_port_read_byte(int wait) { return -1 - wait; }
void mmoe_port_write(const void *data, uint32_t length) {
    (void)data;
    (void)length;
}
void mmoe_port_stack(uint32_t *reserved, uint32_t *used) { *reserved = *used = 0; }
uint32_t mmoe_port_boot_count(void) { return 1; }

/* --- the lives of a board --------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t bytes[STREAM_BYTES];
    size_t length;
} stream;

static stream first, from_old, from_new;
static uint32_t old_model, new_model, third_model;

static void talk(const stream *host) {
    mmoe_main_start();
    for (size_t i = 0; i < host->length; i++) mmoe_main_receive(host->bytes[i]);
}

/* CRC-32 over the logits of some tokens; 0 where the model does not run */
static uint32_t check(void) {
    mmoe_runtime *rt;
    uint32_t crc = 0;
    if (mmoe_init(&rt) != MMOE_OK) return 0;
    for (uint32_t token = 3; token < 7; token++) {
        if (mmoe_step(rt, token) != MMOE_OK) return 0;
        crc = mmoe_crc32(crc, mmoe_logits(rt), 4 * rt->model->vocab_size);
    }
    return crc;
}

static void update_first(void) { talk(&first); }

static void update_again(void) {
    kept->found = check();
    talk(kept->found == new_model ? &from_new : &from_old);
    kept->third = check();
}

/* Runs one life in a fresh process; whether the power failed */
static int live(void (*life)(void), int64_t steps) {
    int status;
    kept->steps = steps;
    const pid_t child = fork();
    if (child == 0) {
        life();
        _exit(FINISHED);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) fail("a life ended wrongly");
    if (WEXITSTATUS(status) != CUT && WEXITSTATUS(status) != FINISHED) fail("the flash was used wrongly");
    return WEXITSTATUS(status) == CUT;
}

static size_t load(const char *path, void *to, size_t room) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    const size_t length = fread(to, 1, room, file);
    if (length == room) fail("too long");
    fclose(file);
    return length;
}

int main(int argc, char **argv) {
    static uint8_t image[CHIP_BYTES];
    uint32_t left_old = 0, left_new = 0;
    if (argc != 9) fail("usage: power_cut SEED FLASH FIRST FROM_OLD FROM_NEW OLD NEW THIRD");
    kept = mmap(NULL, sizeof *kept, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (kept == MAP_FAILED) fail("no memory");
    const size_t image_bytes = load(argv[2], image, sizeof image);
    kept->random = strtoull(argv[1], NULL, 10);
    first.length = load(argv[3], first.bytes, STREAM_BYTES);
    from_old.length = load(argv[4], from_old.bytes, STREAM_BYTES);
    from_new.length = load(argv[5], from_new.bytes, STREAM_BYTES);
    old_model = (uint32_t)strtoul(argv[6], NULL, 16);
    new_model = (uint32_t)strtoul(argv[7], NULL, 16);
    third_model = (uint32_t)strtoul(argv[8], NULL, 16);
    int cut = 1;
    for (int64_t steps = 0; cut; steps++) {
        memcpy(kept->chip, image, image_bytes);
        cut = live(update_first, steps);
        live(update_again, -1);
        left_old += cut && kept->found == old_model;
        left_new += cut && kept->found == new_model;
        const int right = kept->found == new_model || (cut && kept->found == old_model);
        if (right && kept->third == third_model) continue;
        printf("cut at step %lld: logits %08x, after another update %08x\n", (long long)steps, (unsigned)kept->found,
               (unsigned)kept->third);
        return 1;
    }
    printf("%u %u\n", (unsigned)left_old, (unsigned)left_new);
    return 0;
}
