/* SPDX-License-Identifier: Apache-2.0
 *
 * The port on a POSIX system: a socket or the standard streams in place of the UART, nanoseconds as ticks. */
#define _POSIX_C_SOURCE 200809L
#include "host_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mmoe_runtime.h"

#ifndef MMOE_BOARD
#define MMOE_BOARD "host"
#endif

static int listener, input = -1, output = -1;
static uint8_t received[4096], sent[2048];
static size_t received_count, taken, sent_count;

void host_port_open(int socket) {
    listener = socket;
    if (socket >= 0) return;
    input = STDIN_FILENO;
    output = STDOUT_FILENO;
}

static void close_client(void) {
    sent_count = 0;
    if (listener < 0) exit(0); /* the standard streams have ended */
    close(input);
    input = output = -1;
}

static void flush(void) {
    for (size_t done = 0; output >= 0 && done < sent_count;) {
        const ssize_t count = write(output, sent + done, sent_count - done);
        if (count >= 0)
            done += (size_t)count;
        else if (errno != EINTR)
            close_client();
    }
    sent_count = 0;
}

static void accept_client(void) {
    const int one = 1;
    input = accept(listener, NULL, NULL);
    if (input < 0) return;
    setsockopt(input, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    output = input;
    /* A zero first: it ends what the client before may have left half sent. */
    received[0] = 0;
    received_count = 1;
    taken = 0;
}

int mmoe_port_read_byte(int wait) {
    while (taken == received_count) {
        flush();
        if (!wait) {
            struct pollfd ready = {.fd = input >= 0 ? input : listener, .events = POLLIN};
            if (poll(&ready, 1, 0) <= 0) return -1;
        }
        if (input < 0) {
            accept_client();
            continue;
        }
        const ssize_t count = read(input, received, sizeof received);
        if (count > 0) {
            received_count = (size_t)count;
            taken = 0;
        } else if (count == 0 || errno != EINTR) {
            close_client();
        }
    }
    return received[taken++];
}

void mmoe_port_write(const void *data, uint32_t length) {
    const uint8_t *p = data;
    if (output < 0) return; /* nobody listens */
    while (length--) {
        if (sent_count == sizeof sent) flush();
        if (output < 0) return;
        sent[sent_count++] = *p++;
    }
}

uint64_t mmoe_port_ticks(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t mmoe_port_tick_hz(void) { return 1000000000u; }

const char *mmoe_port_board(void) { return MMOE_BOARD; }

void mmoe_port_stack(uint32_t *reserved, uint32_t *used) { *reserved = *used = 0; }

uint32_t mmoe_port_boot_count(void) {
    static uint32_t boot; /* nothing outlives the process: a value that differs from the last one's */
    if (boot == 0) boot = ((uint32_t)getpid() ^ (uint32_t)(mmoe_port_ticks() >> 20)) | 1;
    return boot;
}
