/* SPDX-License-Identifier: Apache-2.0
 *
 * What the RP2350 needs around its PL011 (RP2350 Datasheet): the block by which its boot ROM knows an image (5.9.5.1) and
 * a clock that is exact enough for a UART. After the boot ROM everything runs from the ring oscillator, whose rate is not
 * known; here the 12 MHz crystal drives the reference, system and peripheral clocks (8.1, 8.2). */
#include "cortex_m.h"

#define XOSC_CTRL REGISTER(0x40048000)
#define XOSC_STATUS REGISTER(0x40048004)
#define XOSC_STARTUP REGISTER(0x4004800C)
#define CLK_REF_CTRL REGISTER(0x40010030)
#define CLK_REF_SELECTED REGISTER(0x40010038)
#define CLK_SYS_CTRL REGISTER(0x4001003C)
#define CLK_SYS_SELECTED REGISTER(0x40010044)
#define CLK_PERI_CTRL REGISTER(0x40010048)
#define RESETS_RESET REGISTER(0x40020000)
#define RESETS_DONE REGISTER(0x40020008)
#define GPIO_CTRL(pin) REGISTER(0x40028004 + 8 * (pin))
#define PAD(pin) REGISTER(0x40038004 + 4 * (pin))
enum { XOSC_1_15_MHZ = 0xAA0, XOSC_ENABLE = 0xFAB << 12, XOSC_DELAY_1_MS = 47 }; /* 12 MHz * 1 ms / 256 */
#define XOSC_STABLE (1u << 31)
enum { REF_FROM_XOSC = 2, SYS_FROM_REF = 0, PERI_FROM_XOSC = 4 << 5, PERI_ENABLE = 1 << 11 };
enum { RESET_IO_BANK0 = 1 << 6, RESET_PADS_BANK0 = 1 << 9, RESET_UART0 = 1 << 26 };
enum { TX_PIN = 0, RX_PIN = 1, FUNCTION_UART = 2, PAD_INPUT = 1 << 6, PAD_OUTPUT_OFF = 1 << 7, PAD_ISOLATED = 1 << 8 };

/* Follows the vector table: the boot ROM looks through the first 4 KiB. Arm, secure, RP2350; a loop of one block. */
__attribute__((section(".mmoe_vectors"), used)) static const uint32_t image_definition[] = {
    0xFFFFDED3, 0x10210142, 0x000001FF, 0x00000000, 0xAB123579,
};

static void start_crystal(void) {
    XOSC_STARTUP = XOSC_DELAY_1_MS;
    XOSC_CTRL = XOSC_1_15_MHZ | XOSC_ENABLE;
    while (!(XOSC_STATUS & XOSC_STABLE)) {}
    CLK_REF_CTRL = REF_FROM_XOSC;
    while (!(CLK_REF_SELECTED & 1u << REF_FROM_XOSC)) {}
    CLK_SYS_CTRL = SYS_FROM_REF;
    while (!(CLK_SYS_SELECTED & 1u << SYS_FROM_REF)) {}
    CLK_PERI_CTRL = PERI_ENABLE | PERI_FROM_XOSC;
}

void uart_prepare(void);
void uart_prepare(void) {
    enum { NEEDED = RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_UART0 };
    start_crystal();
    RESETS_RESET &= ~(uint32_t)NEEDED;
    while ((RESETS_DONE & NEEDED) != NEEDED) {}
    GPIO_CTRL(TX_PIN) = FUNCTION_UART;
    GPIO_CTRL(RX_PIN) = FUNCTION_UART;
    PAD(TX_PIN) &= ~(uint32_t)(PAD_ISOLATED | PAD_OUTPUT_OFF);
    PAD(RX_PIN) = (PAD(RX_PIN) | PAD_INPUT) & ~(uint32_t)PAD_ISOLATED;
}
