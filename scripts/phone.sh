#!/usr/bin/env bash
# Everything that the page on ExecuTorch says of phone-sized models, measured on this machine in one run: ratios only, as JSON.
# usage: scripts/phone.sh FOLDER   (about 15 GB; as root, for the limits of memory; what FOLDER has already is used again)
# With llama-cpp-python and gguf in the same environment also against llama.cpp, with the phone extra also against ExecuTorch.
set -euo pipefail
folder=${1:?usage: scripts/phone.sh FOLDER}
scripts=$(dirname "$0")
python=${PYTHON:-python}
mkdir -p "$folder"

make() { # make PATH COMMAND...: the command writes PATH.partial, which is PATH once it is whole
    [ -e "$1" ] || { echo "making $1" >&2; rm -rf "$1.partial"; "${@:2}" >&2; mv "$1.partial" "$1"; }
}
checkpoint() { # checkpoint NAME MODEL OPTION...
    make "$folder/$1" "$python" "$scripts/random_checkpoint.py" "$2" "$folder/$1.partial" "${@:3}"
}
build() { # build CHECKPOINT NAME OPTION...
    make "$folder/$2" "$python" -m mmoe_embed build "$folder/$1" --board host_x86_64 --scheme int4 -o "$folder/$2.partial" "${@:3}"
}
peer() { # peer NAME SCRIPT
    make "$folder/$1" "$python" "$scripts/peers/$2" write "$folder/s" "$folder/$1.partial"
}
has() { "$python" -c "import $1" 2>/dev/null; }

checkpoint s mobilemoe_s
checkpoint p mobilellm_pro
checkpoint z mobilemoe_s --zipf 0.9
build s mapped --expert-slots 0
build p dense

peers=()
if has llama_cpp && has gguf; then
    peer s.gguf llama_cpp_peer.py
    peers+=(--llama-cpp "$folder/s.gguf")
fi
if has executorch; then
    peer executorch executorch_peer.py
    peers+=(--executorch "$folder/executorch")
fi

echo "against the dense model" >&2
"$python" -m mmoe_embed bench phone "$folder/mapped" "$folder/dense" --threads 2 --json | tee "$folder/dense.json"
if ((${#peers[@]})); then
    echo "against the peers" >&2
    "$python" "$scripts/phone_peers.py" "$folder/mapped" "${peers[@]}" --json | tee "$folder/peers.json"
fi
if has executorch; then
    echo "XNNPACK against our kernels" >&2
    "$python" "$scripts/xnnpack_speed.py" "$folder/mapped" --json | tee "$folder/xnnpack.json"
fi
echo "in less memory than the model" >&2
"$python" "$scripts/phone_sweep.py" "$folder/z" "$folder/sweep" --json | tee "$folder/sweep.json"
