/* SPDX-License-Identifier: Apache-2.0
 *
 * The firmware as a program: `--listen 127.0.0.1:PORT` (0, the default: any free one) serves one client after the other and
 * says on standard output where; `--stdio` talks over the standard streams. `--threads N` computes with N threads. Ends on
 * SIGTERM or SIGINT.
 *
 * Where experts are read from a file: `--experts FILE` (gen/experts.bin beside the program, flash.bin where they can be replaced),
 * and `--io auto|uring|thread`. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host_port.h"
#ifdef MMOE_STORAGE_FILE
#include "host_storage.h"
#endif
#include "mmoe_runtime.h"

static void stop(int signal_number) {
    (void)signal_number;
    _exit(0);
}

static int fail_usage(void) {
#ifdef MMOE_STORAGE_FILE
    fputs("usage: program [--listen 127.0.0.1:PORT | --stdio] [--threads N] [--experts FILE] [--io auto|uring|thread]\n", stderr);
#else
    fputs("usage: program [--listen 127.0.0.1:PORT | --stdio] [--threads N]\n", stderr);
#endif
    return 2;
}

/* Returns a socket, or -1 with a message. */
static int listen_on(const char *address) {
    static const char loopback[] = "127.0.0.1:";
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof where;
    char *end;
    const unsigned long port = strncmp(address, loopback, sizeof loopback - 1) == 0
                                   ? strtoul(address + sizeof loopback - 1, &end, 10)
                                   : (end = "not loopback", 0);
    if (*end || port > 65535) {
        fprintf(stderr, "cannot listen on %s: only 127.0.0.1:PORT is served\n", address);
        return -1;
    }
    where.sin_port = htons((uint16_t)port);
    const int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(listener, (struct sockaddr *)&where, sizeof where) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&where, &length)) {
        fprintf(stderr, "cannot listen on %s: %s\n", address, strerror(errno));
        return -1;
    }
    printf("listening on 127.0.0.1:%u\n", (unsigned)ntohs(where.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1:0", *experts = NULL, *io = "auto", *threads = "1";
    int stdio = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--stdio") == 0) {
            stdio = 1;
            continue;
        }
        const char **option = strcmp(argv[i], "--listen") == 0 ? &address : NULL;
        if (strcmp(argv[i], "--threads") == 0) option = &threads;
#ifdef MMOE_STORAGE_FILE
        if (strcmp(argv[i], "--experts") == 0) option = &experts;
        if (strcmp(argv[i], "--io") == 0) option = &io;
#endif
        if (!option || ++i == argc) return fail_usage();
        *option = argv[i];
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    signal(SIGPIPE, SIG_IGN);
#ifdef MMOE_STORAGE_FILE
    if (host_storage_open(experts, io)) return 1;
#else
    (void)experts;
    (void)io;
#endif
    const int listener = stdio ? -1 : listen_on(address);
    if (listener < 0 && !stdio) return 1;
    if (host_threads_open((uint32_t)strtoul(threads, NULL, 10))) return 1;
    host_port_open(listener);
    mmoe_main();
    return 0;
}
