"""The client against a good board, and every way in which a port or a board can be wrong."""

import os
import pty
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_board import BANNER, BUILD_ID, MODEL_ID, FakeBoard, FakeModel, listen_silently

from mmoe_embed.errors import DeviceError, MismatchError, UsageError
from mmoe_embed.serial.client import BoardClient, ResetError, StatusError, TextTooLongError
from mmoe_embed.serial.link import Link, NoReplyError
from mmoe_embed.serial.port import Port

Connect = Callable[..., BoardClient]


def test_client_good_board_every_request(board: FakeBoard, connect: Connect) -> None:
    board.noise = BANNER
    client = connect(board.url)
    identity = client.identify()
    assert (identity.board, identity.firmware_version, identity.boots) == ("fake_board", "0.1.0", 7)
    assert (identity.model_id, identity.build_id) == (MODEL_ID, BUILD_ID)
    client.require_build(MODEL_ID, BUILD_ID)
    client.reset(empty_slots=True, clear_statistics=True)
    model = FakeModel()
    for position, token in enumerate((3, 1, 39)):
        step = client.step(token)
        expected = model.step(token)
        assert (step.position, step.argmax) == (position, int(np.argmax(expected)))
        assert client.checked_logits(step).tobytes() == expected.tobytes()
        assert np.array_equal(client.routes().experts, model.routes)
    statistics = client.statistics()
    assert (statistics.steps, statistics.hit_rate, statistics.arena_used) == (3, 0.75, 900)
    profile = client.profile()
    assert [op.calls for op in profile] == list(range(70))
    assert client.encode("abc") == [b % 40 for b in b"abc"]
    assert "".join(token.text.decode() for token in client.stream("hello")) == "lleh"
    assert client.link.retries == 0


def test_logits_of_a_large_vocabulary_come_in_pieces(connect: Connect) -> None:
    with FakeBoard(vocab_size=1000) as board:
        client = connect(board.url)
        client.reset()
        assert client.checked_logits(client.step(999)).tobytes() == FakeModel(vocab_size=1000).step(999).tobytes()


def test_long_replies_come_again_after_a_board_that_stood_still(connect: Connect) -> None:
    with FakeBoard(vocab_size=200) as board:
        client = connect(board.url)
        client.identify()
        step = client.step(1)
        board.silent = True
        threading.Timer(1.2, lambda: setattr(board, "silent", False)).start()
        client.checked_logits(step)  # 800 B, which were given up once
        requests = []
        for _ in range(20):
            before = board.executed
            client.checked_logits(step)
            requests.append(board.executed - before)
    assert requests[0] == 4
    assert requests[-1] == 1


def test_request_repeated_is_not_executed_twice(board: FakeBoard, connect: Connect) -> None:
    client = connect(board.url)
    client.reset()
    client.step(1)
    before = board.executed
    board.silent = True
    with pytest.raises(NoReplyError, match="silent now"):
        client.link.request(0x03, b"\x01\0\0\0", patience_s=0.1)
    board.silent = False
    client.link._sequence = client.link._sequence - 1 or 255
    client.step(1)  # the one the board never answered
    client.link._sequence = client.link._sequence - 1 or 255
    client.link.request(0x03, b"\x01\0\0\0")  # its repetition
    assert board.executed == before + 1


@pytest.mark.parametrize(("status", "words"), [(-5, "CRC-32"), (-3, "vocabulary"), (-77, "unknown status -77")])
def test_status_is_named(board: FakeBoard, connect: Connect, status: int, words: str) -> None:
    board.statuses[0x03] = status
    client = connect(board.url)
    client.identify()
    with pytest.raises(StatusError, match=words) as caught:
        client.step(1)
    assert caught.value.status == status
    assert caught.value.exit_code == 4


def test_identify_with_a_status_ends(board: FakeBoard, connect: Connect) -> None:
    board.statuses[0x01] = -8
    with pytest.raises(StatusError, match="MMOE_E_IMAGE"):
        connect(board.url).identify()


def test_require_build_of_another_build(board: FakeBoard, connect: Connect) -> None:
    client = connect(board.url)
    with pytest.raises(MismatchError, match="another build: 222222222222") as caught:
        client.require_build(MODEL_ID, "33" * 32)
    assert caught.value.exit_code == 6
    assert "flash" in caught.value.try_
    with pytest.raises(MismatchError, match="another model"):
        client.require_build("33" * 32, BUILD_ID)


def test_identify_of_another_abi(board: FakeBoard, connect: Connect) -> None:
    board.abi = 99
    with pytest.raises(MismatchError, match="ABI 99"):
        connect(board.url).identify()


def test_reset_in_the_middle_is_noticed_by_the_position(board: FakeBoard, connect: Connect) -> None:
    board.reset_before = {2}
    client = connect(board.url)
    client.identify()
    client.reset()
    client.step(1)
    client.step(1)
    with pytest.raises(ResetError, match="position 0, expected 2"):
        client.step(1)
    with pytest.raises(ResetError, match=r"boot 7, now 8"):
        client.identify()


def test_reset_in_the_middle_of_an_answer(board: FakeBoard, connect: Connect) -> None:
    client = connect(board.url)
    client.identify()
    with pytest.raises(ResetError, match="boot 7, now 9"):  # noqa: PT012
        for _ in client.stream("hello"):
            board._start_again()
            board.boots = 9


@pytest.mark.parametrize("kind", range(1, 11))
def test_reply_of_a_wrong_length_is_named(board: FakeBoard, connect: Connect, kind: int) -> None:
    client = connect(board.url)
    if kind != 1:
        client.identify()
        client.reset()
    board.garble = lambda got, payload: payload[:5] if got == kind else payload
    ask: list[Callable[[], object]] = [
        client.identify, client.reset, lambda: client.step(1), client.logits, client.statistics, client.profile,
        lambda: client.encode("ab"), lambda: client.prompt("ab"), client.next_token, client.routes,
    ]  # fmt: skip
    if kind == 2:
        board.garble = lambda got, payload: payload[:3] if got == kind else payload
    if kind == 9:
        client.prompt("ab")
    with pytest.raises(MismatchError, match=r"SPEC\.md 8\.1"):
        ask[kind - 1]()


def test_text_too_long(board: FakeBoard, connect: Connect) -> None:
    with pytest.raises(TextTooLongError, match=r"1035 B.*1034 B .1 B over"):
        connect(board.url).prompt("x" * 1035)


def test_port_missing() -> None:
    with pytest.raises(DeviceError, match="no such port") as caught:
        Port("/dev/ttyNOPE7")
    assert "ports now" in caught.value.try_


def test_port_not_serial(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(DeviceError, match="not a serial port"):
        Port(str(file))


def test_port_unknown_scheme() -> None:
    with pytest.raises(UsageError, match="is no port"):
        Port("telegraph://x")


def test_port_without_number() -> None:
    with pytest.raises((UsageError, DeviceError), match="port"):
        Port("socket://127.0.0.1")


def test_port_refused() -> None:
    with listen_silently() as url:
        pass
    with pytest.raises(DeviceError, match="cannot connect"):
        Port(url)


def test_port_busy() -> None:
    near, far = pty.openpty()
    try:
        with Port(os.ttyname(far)), pytest.raises(DeviceError, match="in use"):
            Port(os.ttyname(far))
    finally:
        os.close(near)
        os.close(far)


def test_pty_carries_frames() -> None:
    near, far = pty.openpty()
    try:
        with Port(os.ttyname(far)) as port:
            port.write(bytes(range(256)))
            assert os.read(near, 1000) == bytes(range(256))
            os.write(near, bytes(range(256)))
            received = b""
            while len(received) < 256 and (data := port.read(1.0)):
                received += data
            assert received == bytes(range(256))
            assert port.read(0.01) == b""
    finally:
        os.close(near)
        os.close(far)


def _fail_to_identify(url: str) -> NoReplyError:
    link = Link(Port(url))
    started = time.monotonic()
    try:
        with pytest.raises(NoReplyError) as caught:
            BoardClient(link).identify(patience_s=1.0)
    finally:
        link.close()
    assert time.monotonic() - started < 3
    return caught.value


def test_silent_board() -> None:
    with listen_silently() as url:
        error = _fail_to_identify(url)
    assert "not one byte" in error.message
    assert error.exit_code == 4


def test_line_that_echoes() -> None:
    error = _fail_to_identify("loop://")
    assert "none of them is the reply" in error.message
    assert "RX and TX" in error.try_


def test_board_that_only_talks_text() -> None:
    with listen_silently(b"Hello from Zephyr\r\n", repeat=True) as url:  # as in the next test
        assert "'Hello from Zephyr'" in _fail_to_identify(url).message


def test_wrong_baud_rate_is_suspected() -> None:
    # again and again: what comes before the port is open is thrown away by pyserial
    with listen_silently(bytes(range(128, 256)) + b"\0\xf8\0", repeat=True) as url:
        error = _fail_to_identify(url)
    assert "baud" in error.message
    assert "--baud" in error.try_


def test_board_that_babbles_without_end() -> None:
    with listen_silently(b"\xff\x00garbage" * 200, repeat=True) as url:
        _fail_to_identify(url)


def test_board_that_babbles_at_start(board: FakeBoard, connect: Connect) -> None:
    board.noise = b"\xff\x13\0\0boot rom v1\r\n\0\x05ab" + BANNER * 50
    assert connect(board.url).identify().boots == 7


def test_unplugged_in_the_middle(connect: Connect) -> None:
    with FakeBoard() as board:
        client = connect(board.url)
        client.identify()
    with pytest.raises(DeviceError, match=r"gone|cannot|takes no"):
        client.identify(patience_s=1.0)


def test_board_that_never_ends_its_answer(board: FakeBoard, connect: Connect) -> None:
    client = connect(board.url)
    board.garble = lambda kind, payload: payload[:4] + b"\x07\0\0\0\0x" if kind == 9 else payload
    with pytest.raises(DeviceError, match="no end"):
        list(client.stream("hi"))
