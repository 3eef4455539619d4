#!/bin/sh
# usage: flash.sh BUILD_FOLDER    what `west flash` runs: the board, an mps2/an385, starts with another image
# SERIAL_BOARD_PORT: the board's end of the serial line. SERIAL_BOARD_PID: a file for the number of the emulator's process.
set -eu
if [ -e "$SERIAL_BOARD_PID" ]; then
    old=$(cat "$SERIAL_BOARD_PID")
    kill "$old" && timeout 5 tail --pid="$old" -f /dev/null
fi
setsid qemu-system-arm -M mps2-an385 -display none -net none -monitor none -chardev "serial,id=line,path=$SERIAL_BOARD_PORT" \
    -serial chardev:line -kernel "$1/zephyr/zephyr.elf" </dev/null >/dev/null 2>&1 &
echo $! >"$SERIAL_BOARD_PID"
