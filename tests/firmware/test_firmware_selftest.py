"""Kernel self-test and scores: the firmware's stored vectors are those of SPEC.md, and a wrong kernel is named."""

import math

import numpy as np
import pytest
from emitted import Models
from images import MACHINES, build_host
from selftest_vectors import HEADER, expect, render
from test_firmware_host import client_of, random_tokens
from test_firmware_qemu import emulate

from mmoe_embed.golden import Golden, exp, sum_lanes
from mmoe_embed.serial.client import BoardClient, StatusError
from mmoe_embed.serial.link import Link
from mmoe_embed.serial.port import Port


def test_stored_vectors_are_those_of_the_spec() -> None:
    assert HEADER.read_text() == render(), "run tests/firmware/selftest_vectors.py"


def _check_kernels(client: BoardClient) -> None:
    tests = client.test_kernels()
    assert [test.name.removeprefix("mmoe_").upper() for test in tests] == list(expect())
    assert all(test.ok for test in tests), [test for test in tests if not test.ok]


@pytest.mark.gcc
def test_selftest_on_the_host_and_steps_after_it(models: Models) -> None:
    golden = Golden(models.model())
    with client_of(models.host(3)) as client:
        client.step(7)
        _check_kernels(client)
        assert client.statistics().arena_used == 0
        step = client.step(7)
        assert (step.position, client.checked_logits(step).tobytes()) == (0, golden.step(7).tobytes())
        with pytest.raises(StatusError, match="MMOE_E_ARGUMENT"):
            client.ask("self-test", 0x11, b"\xff")


@pytest.mark.arm
@pytest.mark.qemu
def test_selftest_on_a_board(models: Models) -> None:
    machine = MACHINES["mps3-an547"]
    with emulate(models.image("mps3-an547"), machine) as (port, _), Link(Port(f"socket://127.0.0.1:{port}")) as link:
        client = BoardClient(link)
        client.identify()
        _check_kernels(client)


@pytest.mark.gcc
def test_selftest_names_the_wrong_kernel(models: Models) -> None:
    swap = ("-Wl,--wrap=mmoe_sqrt_f32", "-Wl,--defsym=__wrap_mmoe_sqrt_f32=mmoe_exp_f32")
    program = build_host(models.emit(3), models.folder / "wrong", flags=("-O1", *swap))
    with client_of(program) as client:
        wrong = {test.name for test in client.test_kernels() if not test.ok}
    assert wrong == {"mmoe_sqrt_f32", "mmoe_rmsnorm_f32", "mmoe_attention_s8"}


@pytest.mark.gcc
def test_score_is_the_goldens(models: Models) -> None:
    golden = Golden(models.model())
    with client_of(models.host(3)) as client:
        client.reset()
        for token in random_tokens(6):
            logits = golden.step(token)
            client.step(token)
            largest = logits.max()
            total = sum_lanes(exp(logits - largest))
            score = client.score(token)
            bits = np.array([score.logit, score.largest, score.total], np.float32)
            assert bits.tobytes() == np.array([logits[token], largest, total], np.float32).tobytes()
            expected = logits[token].astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
            assert math.isclose(score.log_probability, expected, rel_tol=1e-5, abs_tol=1e-5)
        with pytest.raises(StatusError, match="MMOE_E_TOKEN"):
            client.score(300)
