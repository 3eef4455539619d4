/* SPDX-License-Identifier: Apache-2.0
 *
 * What text commands say to the host. */
#include "mmoe_internal.h"

void mmoe_say(const char *text) {
    uint32_t length = 0;
    while (text[length]) length++;
    mmoe_port_write(text, length);
}

void mmoe_say_number(uint64_t number) {
    char digits[20];
    uint32_t at = sizeof digits, digit;
    do {
        number = mmoe_divide(number, 10, &digit);
        digits[--at] = (char)('0' + digit);
    } while (number);
    mmoe_port_write(digits + at, sizeof digits - at);
}

void mmoe_say_lap(void) {
    const uint32_t hz = mmoe_port_tick_hz();
    uint32_t rest, unused;
    const uint64_t seconds = mmoe_divide(mmoe_port_ticks(), hz, &rest);
    mmoe_say("m-lap-us-");
    mmoe_say_number(seconds * 1000000 + mmoe_divide((uint64_t)rest * 1000000, hz, &unused));
    mmoe_say("\r\n");
}

void mmoe_say_status(mmoe_status status) {
    mmoe_say("e-[Status -");
    mmoe_say_number((uint32_t)-(int32_t)status);
    mmoe_say("]\r\n");
}
