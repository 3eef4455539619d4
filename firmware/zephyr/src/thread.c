/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that runs the model: bytes of the host and questions of the application, one after the other. Part of the
 * application, because the size of its stack comes from the plan in model.h. */
#include <errno.h>
#include <string.h>

#include "mmoe_embed.h"
#include "model.h"
#include "port.h"

K_KERNEL_STACK_DEFINE(mmoe_stack, MMOE_MODEL_STACK_BYTES);
struct k_thread mmoe_thread;
K_SEM_DEFINE(mmoe_wake, 0, 1);

static atomic_t started; /* 1: the thread runs */
static K_MUTEX_DEFINE(one_asks);
static K_SEM_DEFINE(answered, 0, 1);
static struct {
    const char *text; /* NULL: no question */
    mmoe_on_text *on_text;
    void *user;
    mmoe_status status;
} question;

static void run_model(void *a, void *b, void *c) {
    ARG_UNUSED(a);
    ARG_UNUSED(b);
    ARG_UNUSED(c);
    mmoe_main_start();
    for (;;) {
        int byte;
        if (question.text) { /* before the host's next request, so that none of its bytes can put it off */
            question.status = mmoe_main_answer(question.text, strlen(question.text), question.on_text, question.user);
            question.text = NULL;
            k_sem_give(&answered);
        } else if ((byte = mmoe_port_read_byte(0)) >= 0) {
            mmoe_main_receive((uint8_t)byte);
        } else {
            k_sem_take(&mmoe_wake, K_FOREVER);
        }
    }
}

int mmoe_embed_start(void) {
    int error = mmoe_experts_start();
    if (error == 0) error = mmoe_serial_start();
    if (error) return error;
    k_thread_create(&mmoe_thread, mmoe_stack, K_KERNEL_STACK_SIZEOF(mmoe_stack), run_model, NULL, NULL, NULL,
                    CONFIG_MMOE_EMBED_THREAD_PRIORITY, 0, K_NO_WAIT);
    k_thread_name_set(&mmoe_thread, "mmoe_embed");
    atomic_set(&started, 1);
    return 0;
}

mmoe_status mmoe_embed_ask(const char *text, mmoe_on_text *on_text, void *user) {
    if (!atomic_get(&started)) return MMOE_E_UNSUPPORTED; /* nobody would answer */
    k_mutex_lock(&one_asks, K_FOREVER);
    question.on_text = on_text;
    question.user = user;
    question.text = text; /* last: it is what the thread looks at */
    k_sem_give(&mmoe_wake);
    k_sem_take(&answered, K_FOREVER);
    const mmoe_status status = question.status;
    k_mutex_unlock(&one_asks);
    return status;
}
