/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's line on the UART that `chosen { mmoe,console }` names, else on the console. Interrupt driven where the UART's
 * driver can be; else it is polled once a millisecond (native_sim). */
#include <errno.h>
#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/sys/ring_buffer.h>

#include "mmoe_runtime.h"
#include "port.h"

#if DT_HAS_CHOSEN(mmoe_console)
#define UART DT_CHOSEN(mmoe_console)
#else
#define UART DT_CHOSEN(zephyr_console)
#endif

static const struct device *const uart = DEVICE_DT_GET(UART);

RING_BUF_DECLARE(received, CONFIG_MMOE_EMBED_RECEIVE_BYTES);

#ifdef CONFIG_UART_INTERRUPT_DRIVEN

RING_BUF_DECLARE(to_send, CONFIG_MMOE_EMBED_SEND_BYTES);
static K_SEM_DEFINE(room_to_send, 0, 1);

static void receive(void) {
    uint8_t bytes[16];
    int count;
    while ((count = uart_fifo_read(uart, bytes, sizeof bytes)) > 0)
        ring_buf_put(&received, bytes, (uint32_t)count); /* what finds no room is lost: the frame's CRC tells */
    k_sem_give(&mmoe_wake);
}

static void send(void) {
    uint8_t *bytes;
    const uint32_t count = ring_buf_get_claim(&to_send, &bytes, CONFIG_MMOE_EMBED_SEND_BYTES);
    const int sent = count ? uart_fifo_fill(uart, bytes, (int)count) : 0;
    ring_buf_get_finish(&to_send, sent > 0 ? (uint32_t)sent : 0);
    if (count == 0) uart_irq_tx_disable(uart);
    k_sem_give(&room_to_send);
}

static void on_interrupt(const struct device *device, void *user) {
    ARG_UNUSED(user);
    while (uart_irq_update(device) && uart_irq_is_pending(device)) {
        if (uart_irq_rx_ready(device)) receive();
        if (!uart_irq_tx_ready(device)) continue;
        send();
        if (ring_buf_is_empty(&to_send)) {
            uart_irq_tx_disable(device);
            break;
        }
    }
}

int mmoe_serial_start(void) {
    if (!device_is_ready(uart)) return -ENODEV;
    const int error = uart_irq_callback_user_data_set(uart, on_interrupt, NULL);
    if (error) return error;
    uart_irq_rx_enable(uart);
    return 0;
}

void mmoe_port_write(const void *data, uint32_t length) {
    const uint8_t *bytes = data;
    while (length) {
        const uint32_t count = ring_buf_put(&to_send, bytes, length);
        bytes += count;
        length -= count;
        uart_irq_tx_enable(uart);
        if (length) k_sem_take(&room_to_send, K_FOREVER);
    }
}

#else

static void poll_line(struct k_timer *timer) {
    ARG_UNUSED(timer);
    uint8_t byte;
    while (ring_buf_space_get(&received) && uart_poll_in(uart, &byte) == 0) {
        ring_buf_put(&received, &byte, 1);
        k_sem_give(&mmoe_wake);
    }
}
static K_TIMER_DEFINE(polling, poll_line, NULL);

int mmoe_serial_start(void) {
    if (!device_is_ready(uart)) return -ENODEV;
    k_timer_start(&polling, K_MSEC(1), K_MSEC(1));
    return 0;
}

void mmoe_port_write(const void *data, uint32_t length) {
    const uint8_t *bytes = data;
    while (length--) uart_poll_out(uart, *bytes++);
}

#endif

int mmoe_port_read_byte(int wait) {
    uint8_t byte;
    while (ring_buf_get(&received, &byte, 1) == 0) {
        if (!wait) return -1;
        k_sem_take(&mmoe_wake, K_FOREVER);
    }
    return byte;
}
