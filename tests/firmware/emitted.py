"""Models emitted for the tests, and what is built of them."""

import dataclasses
import shutil
import zlib
from pathlib import Path

import pytest
from images import MACHINES, build_host, build_image
from random_model import small_config, write_checkpoint

from mmoe_embed.board import load_board
from mmoe_embed.checkpoint import load_checkpoint
from mmoe_embed.emit import emit_model
from mmoe_embed.emit.writer import write_files
from mmoe_embed.paging.placement import Placement
from mmoe_embed.plan import PlanRequest, plan_model
from mmoe_embed.quantize import quantize_checkpoint
from mmoe_embed.quantized import Quantized

AS_IT_COMES = Placement()


def require_tool(name: str) -> None:
    """Skip by name where a tool is missing."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")


@dataclasses.dataclass
class Models:
    """Emits and builds variants of the small model, each once."""

    folder: Path

    def __post_init__(self) -> None:
        self.quantized: dict[str, Quantized] = {}

    def model(self, scheme: str = "int4", dense: bool = False) -> Quantized:
        """The quantized model."""
        key = f"{scheme}{'-dense' if dense else ''}"
        if key not in self.quantized:
            sizes = {"num_experts": 0, "num_experts_per_tok": 0} if dense else {}
            checkpoint = write_checkpoint(self.folder / f"checkpoint-{key}", small_config(**sizes))
            self.quantized[key] = quantize_checkpoint(load_checkpoint(checkpoint), scheme)
        return self.quantized[key]

    def emit(
        self,
        slots: int | None,
        policy: str = "lru",
        scheme: str = "int4",
        dense: bool = False,
        paging: Placement = AS_IT_COMES,
        chunk: int | None = None,
    ) -> Path:
        """The folder of emitted files."""
        gen = self.folder / f"gen-{slots}-{policy}-{scheme}-{dense}-{chunk}-{zlib.crc32(repr(paging).encode()):08x}"
        if not gen.exists():
            model = self.model(scheme, dense)
            request = PlanRequest(expert_slots=slots, policy=policy, chunk=chunk, paging=paging)
            plan = plan_model(model, load_board("host_x86_64"), request)
            write_files(emit_model(model, plan).files, gen)
        return gen

    def host(
        self,
        slots: int | None,
        policy: str = "lru",
        scheme: str = "int4",
        dense: bool = False,
        paging: Placement = AS_IT_COMES,
        chunk: int | None = None,
    ) -> Path:
        """The host program, with sanitizers."""
        require_tool("gcc")
        gen = self.emit(slots, policy, scheme, dense, paging, chunk)
        program = gen / "program"
        return (
            program
            if program.exists()
            else build_host(
                gen, program, flags=("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
            )
        )

    def image(self, machine: str, compiler: str = "gcc", slots: int | None = 3) -> Path:
        """The image for an emulated machine."""
        require_tool("arm-none-eabi-gcc" if compiler == "gcc" else "python3")
        gen = self.emit(slots)
        elf = gen / f"{machine}-{compiler}.elf"
        return elf if elf.exists() else build_image(gen, elf, MACHINES[machine], compiler)
