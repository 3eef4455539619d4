"""The cores that kernels are measured and compared on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One core under one machine.

    Args:
        name: as `--board` takes it.
        folders: instruction-set folders of kernels_cmsis, the best first.
        gcc: flags of arm-none-eabi-gcc or the host's compiler.
        zig: flags of `python -m ziglang cc`; empty where it is not used.
        machine: QEMU machine; "" runs on this computer's kernel.
        ram_origin, ram_bytes: the memory the image lies in.
        guard_end: end of 64 KiB that are not the image's; behind it nothing answers, or the MPU sees to it.
        tick_hz: SysTick of the machine; of AArch64 its generic timer.
        processor: as platform.machine() has it, "" on a Cortex-M; on another computer its programs are emulated.
        cpus: what QEMU calls CPUs that take different paths through the kernels, the most able first.
    """

    name: str
    folders: tuple[str, ...]
    gcc: tuple[str, ...]
    zig: tuple[str, ...] = ()
    machine: str = ""
    ram_origin: int = 0
    ram_bytes: int = 0
    guard_end: int = 0
    tick_hz: int = 0
    processor: str = ""
    cpus: tuple[str, ...] = ()

    @property
    def is_host(self) -> bool:
        """Whether programs run on this computer's kernel, emulated or not."""
        return not self.machine


def _zig(cpu: str, float_abi: str = "hf") -> tuple[str, ...]:
    return ("-target", f"thumb-freestanding-eabi{float_abi}", f"-mcpu={cpu}")


def _gcc(cpu: str, fpu: str = "") -> tuple[str, ...]:
    abi = ("-mfloat-abi=hard", f"-mfpu={fpu}") if fpu else ("-mfloat-abi=soft",)
    return ("-mthumb", f"-mcpu={cpu}", *abi)


# MPS2 boards (Arm DAI0385, DAI0386, DAI0400, DAI0505): bytes of code SSRAM; an address in the PSRAM
_SSRAM = 4 << 20
_PSRAM_GUARD = 0x2101_0000

TARGETS = {
    target.name: target
    for target in (
        Target(
            "qemu_mps3_an547",
            ("mve", "dsp", "reference"),
            _gcc("cortex-m55", "auto"),
            _zig("cortex_m55+mve_fp"),
            "mps3-an547",
            0,
            448 << 10,
            512 << 10,
            32_000_000,
        ),
        Target(
            "qemu_mps2_an386",
            ("dsp", "reference"),
            _gcc("cortex-m4", "fpv4-sp-d16"),
            _zig("cortex_m4+vfp4d16sp"),
            "mps2-an386",
            0,
            _SSRAM,
            _PSRAM_GUARD,
            25_000_000,
        ),
        Target(
            "qemu_mps2_an500",
            ("dsp", "reference"),
            _gcc("cortex-m7", "fpv5-sp-d16"),
            _zig("cortex_m7+fp_armv8d16sp"),
            "mps2-an500",
            0,
            _SSRAM,
            _PSRAM_GUARD,
            25_000_000,
        ),
        Target(
            "qemu_mps2_an505",
            ("dsp", "reference"),
            _gcc("cortex-m33", "fpv5-sp-d16"),
            _zig("cortex_m33+dsp+fp_armv8d16sp"),
            "mps2-an505",
            0x1000_0000,
            _SSRAM,
            0,
            20_000_000,
        ),
        Target(
            "qemu_mps2_an385",
            ("reference",),
            _gcc("cortex-m3"),
            _zig("cortex_m3", ""),
            "mps2-an385",
            0,
            _SSRAM,
            _PSRAM_GUARD,
            25_000_000,
        ),
        # code for a Cortex-M0 takes as many instructions on a Cortex-M3, and needs more RAM than the board has
        Target(
            "qemu_microbit",
            ("reference",),
            _gcc("cortex-m0"),
            _zig("cortex_m0", ""),
            "mps2-an385",
            0,
            _SSRAM,
            _PSRAM_GUARD,
            25_000_000,
        ),
        Target(
            "host_x86_64",
            ("x86", "vector", "reference"),
            (),
            ("-target", "x86_64-linux-musl"),
            processor="x86_64",
            cpus=("max", "qemu64"),
        ),
        Target(
            "linux_aarch64",
            ("neon", "vector", "reference"),
            ("-static",),
            ("-target", "aarch64-linux-musl"),
            processor="aarch64",
            cpus=("max", "cortex-a76", "cortex-a53"),
        ),
        # without a system, where instructions can be counted: i8mm, dotprod, neither
        *(
            Target(
                f"qemu_virt_{cpu.removeprefix('cortex-')}",
                ("neon", "vector", "reference"),
                (),
                ("-target", "aarch64-linux-musl"),
                "virt",
                0x4010_0000,
                32 << 20,
                0x4400_0000,
                62_500_000,
                "aarch64",
                (cpu,),
            )
            for cpu in ("max", "cortex-a76", "cortex-a53")
        ),
    )
}
