"""Where RAM outlives a reset, experts that were in slots are there still: not read again, and checked first."""

from pathlib import Path

import pytest
from random_model import small_config, write_checkpoint

from mmoe_embed.board import list_boards, load_board
from mmoe_embed.build import BuildRequest, build_firmware
from mmoe_embed.build_folder import BuildFolder
from mmoe_embed.errors import DeviceError
from mmoe_embed.golden import Golden
from mmoe_embed.plan import PlanRequest
from mmoe_embed.quantized import load_quantized
from mmoe_embed.runners import connect_board
from mmoe_embed.serial.client import BoardClient

SLOTS = 6  # for 12 experts
USUAL = ("qemu_mps2_an386", "qemu_mps3_an547")
RETAINED = [
    pytest.param(name, marks=[pytest.mark.arm, pytest.mark.qemu, *([] if name in USUAL else [pytest.mark.slow])])
    for name in list_boards()
    if any(memory.retained for memory in load_board(name).memory)
]


def build(folder: Path, board: str) -> BuildFolder:
    """Models of which every size fits every board."""
    sizes = small_config(hidden_size=16, moe_intermediate_size=16, shared_expert_intermediate_size=16)
    checkpoint = write_checkpoint(folder / "model", sizes)
    return build_firmware(BuildRequest(checkpoint, board, folder / "build", "int8", PlanRequest(expert_slots=SLOTS)))


def run(client: BoardClient, program: BuildFolder) -> list[bytes]:
    """Logits of some tokens from an empty context; they are the golden's."""
    golden = Golden(load_quantized(program.quantized))
    client.reset(clear_statistics=False)
    logits = []
    for token in range(5, 300, 30):
        expected = golden.step(token).tobytes()
        logits.append(client.checked_logits(client.step(token)).tobytes())
        assert logits[-1] == expected
    return logits


@pytest.mark.parametrize("board", RETAINED)
def test_slots_outlive_a_reset(board: str, tmp_path: Path) -> None:
    program = build(tmp_path, board)
    assert program.plan["retained"]
    with connect_board(load_board(board), program) as client:
        cold = run(client, program)
        before = client.statistics()
        assert (before.kept, before.misses >= SLOTS) == (0, True)
        client.restart()
        started = client.statistics()
        assert (started.kept, started.misses, started.steps) == (SLOTS, 0, 0)
        assert started.check_ticks > 0  # each was found right
        assert run(client, program) == cold
        after = client.statistics()
        assert after.misses < before.misses
        assert after.load_errors == 0
        # emptied slots stay what they are: the pages in them are right
        client.reset(empty_slots=True)
        client.restart()
        assert client.statistics().kept == SLOTS
        print(f"{board}: {before.misses} reads from cold, {after.misses} after a reset")


@pytest.mark.gcc
def test_board_without_such_ram_says_so(tmp_path: Path) -> None:
    program = build(tmp_path, "host_x86_64")
    with connect_board(load_board("host_x86_64"), program) as client:
        with pytest.raises(DeviceError, match="was not reset"):
            client.restart()
        run(client, program)
