/* SPDX-License-Identifier: Apache-2.0
 *
 * What an application calls. */
#ifndef MMOE_EMBED_H
#define MMOE_EMBED_H

#include "mmoe_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Starts the thread that runs the model and, with CONFIG_MMOE_EMBED_SERIAL, serves the host on the console. Once.
 * Returns 0, or -ENODEV when the UART or the expert partition is not ready. */
int mmoe_embed_start(void);

/* Answers a text: on_text gets the answer token by token, on the model's thread. Returns when the answer is whole. From any
 * thread, one caller after the other; between two requests of the host, whose context it empties. MMOE_E_UNSUPPORTED where
 * mmoe_embed_start has not returned 0. */
mmoe_status mmoe_embed_ask(const char *text, mmoe_on_text *on_text, void *user);

#ifdef __cplusplus
}
#endif
#endif
