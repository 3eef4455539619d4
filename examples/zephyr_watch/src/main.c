/* SPDX-License-Identifier: Apache-2.0 */
#include <mmoe_embed.h>
#include <zephyr/sys/printk.h>

static void show(const char *text, uint32_t length, void *user) {
    ARG_UNUSED(user);
    printk("%.*s", (int)length, text);
}

int main(void) {
    static const char request[] = "wake me at ten past six";
    if (mmoe_embed_start()) return -1;
    printk("%s\n", request);
    printk(" (%d)\n", mmoe_embed_ask(request, show, NULL));
    return 0;
}
