/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_HOST_PORT_H
#define MMOE_HOST_PORT_H

#include <stdint.h>

/* Takes requests from one client at a time of a listening socket, or from standard input when listener is -1. */
void host_port_open(int listener);

/* Splits matrix products between so many threads, this one included; -1 with a message when it cannot. */
int host_threads_open(uint32_t count);

#endif
