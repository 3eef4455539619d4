/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MMOE_HOST_PORT_H
#define MMOE_HOST_PORT_H

/* Takes requests from one client at a time of a listening socket, or from standard input when listener is -1. */
void host_port_open(int listener);

#endif
