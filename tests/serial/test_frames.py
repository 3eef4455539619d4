"""Frames: what is sent comes back, what is damaged never does."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmoe_embed.serial.frames import (
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameReader,
    count_binary,
    decode_frame,
    encode_frame,
)

frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=MAX_PAYLOAD_BYTES))


@given(frames)
def test_encode_frame_has_zeros_only_at_its_ends_and_decodes(frame: Frame) -> None:
    wire = encode_frame(frame)
    assert wire[0] == wire[-1] == 0
    assert 0 not in wire[1:-1]
    assert decode_frame(wire[1:-1]) == frame


def test_encode_frame_is_the_bytes_of_the_spec() -> None:
    # identify: type 1, sequence 0, CRC-32 of 01 00 = 0x58c223be
    assert encode_frame(Frame(1, 0, b"")) == bytes.fromhex("00 02 01 05 be 23 c2 58 00")


def test_encode_frame_too_long() -> None:
    with pytest.raises(ValueError, match="1034 B"):
        encode_frame(Frame(1, 1, bytes(MAX_PAYLOAD_BYTES + 1)))


@given(frames, st.data())
def test_decode_frame_damaged_byte_is_no_frame(frame: Frame, data: st.DataObject) -> None:
    wire = bytearray(encode_frame(frame)[1:-1])
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= data.draw(st.integers(1, 255))
    if 0 not in wire:
        assert decode_frame(bytes(wire)) != frame


@given(st.lists(frames, max_size=4), st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_reader_gives_the_same_frames_however_the_bytes_arrive(sent: list[Frame], sizes: list[int]) -> None:
    stream = b"m-ready\r\n".join(encode_frame(frame) for frame in sent)
    reader = FrameReader()
    received = []
    while stream:
        size = sizes[len(received) % len(sizes)]
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert received == sent


def test_reader_random_bytes_never_make_a_frame_and_stay_bounded() -> None:
    source = random.Random(5)
    reader = FrameReader()
    for _ in range(10_000):
        size = source.choice((1, 7, 30, 300, 3000))
        damage = source.randbytes(size) if source.random() < 0.7 else source.randbytes(size).replace(b"\0", b"x")
        assert reader.feed(damage) == []
        assert len(reader.snapshot_noise()) <= 400
        assert len(reader._pending) <= 5 * 1040 + 3000
    assert reader.feed(b"\0" + encode_frame(Frame(1, 2, b"after"))) == [Frame(1, 2, b"after")]


def test_count_binary_text_is_none() -> None:
    assert count_binary(b"m-lap-us-12\r\n\t") == 0
    assert count_binary(b"\x00\xff\x7f") == 3
