#!/usr/bin/env bash
# Installs what the demo and the tests need on Debian or Ubuntu: system packages that are missing, and a virtual environment.
# usage: scripts/setup.sh VENV_FOLDER   (PYTHON chooses the interpreter)
set -euo pipefail
venv=$1
python=${PYTHON:-python3}

missing=()
need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}")
}
need gcc gcc libc6-dev
need g++ g++
need clang clang
need arm-none-eabi-gcc gcc-arm-none-eabi
need qemu-system-arm qemu-system-arm
need qemu-aarch64 qemu-user
need openocd openocd
need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
    echo "installing: ${missing[*]}" >&2
    sudo=
    if (($(id -u))); then
        sudo=sudo
        command -v sudo >/dev/null || { echo "Error: not root and no sudo; install by hand: ${missing[*]}" >&2; exit 5; }
    fi
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Error: Python 3.11 or newer is needed" >&2; exit 5; }
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
# the range is one that only torch's 2.13 satisfies: a machine that holds a CPU build of it takes that one
"$venv/bin/pip" install --quiet --disable-pip-version-check "torch>=2.13,<2.14"
# the build backend and its tools in the environment itself, so that nothing is built in isolation twice
"$venv/bin/pip" install --quiet --disable-pip-version-check "scikit-build-core>=0.10" cmake ninja
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --editable ".[train,datasets,zig,dev]"
# ExecuTorch without what only Apple's and other backends need (0.2 GB instead of 0.6): the phone extra takes it whole
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    "executorch==1.5.1" "torchao==0.18.0" "flatbuffers==25.12.19" "ruamel.yaml==0.19.1" "tabulate==0.10.0"

# labgrid replaces pyserial's package, so it has an environment of its own: what `mmoe-embed farm` calls, and its tests
[ -x "$venv/farm/bin/python" ] || "$python" -m venv "$venv/farm"
"$venv/farm/bin/pip" install --quiet --disable-pip-version-check "labgrid==26.0.1"
