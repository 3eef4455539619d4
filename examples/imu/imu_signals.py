"""Synthetic accelerometer and gyroscope signals of a wrist-worn sensor, six activities, from a simple mechanical model.

SYNTHETIC: no person was recorded. The signals follow the mechanics of an arm with a sensor at its wrist, and the noise
of a common MEMS sensor, so that the way from data to a device can be shown. A model trained on them knows nothing of
real people.

What is modelled: the forearm is a rigid link that turns about one axis by `pitch(t)`; the shoulder moves with the
steps; the sensor feels gravity, the shoulder's acceleration and those of its own turning (tangential and towards the
axis), all in its own frame, through a strap that sits a little turned. Then gain, offset, white noise, range and
resolution of the sensor.

    python examples/imu/imu_signals.py        # writes data/train.safetensors and data/heldout.safetensors here
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Signal = NDArray[np.float64]
HERE = Path(__file__).parent
ACTIVITIES = ("sitting", "standing", "walking", "running", "cycling", "stairs")
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z")  # in g, in rad/s
RATE_HZ = 50.0
FRAMES = 256  # 5.12 s
G = 9.81
# noise as in the data sheet of an LSM6DSO (70 ug and 3.8 mdps in 1 Hz) over half the rate; range 8 g and 1000 dps
ACC_NOISE, GYR_NOISE = 70e-6 * np.sqrt(RATE_HZ / 2), np.radians(3.8e-3) * np.sqrt(RATE_HZ / 2)
ACC_RANGE, GYR_RANGE = 8.0, np.radians(1000.0)


class Person:
    """What is one person's own, drawn once."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.lever_m = random.uniform(0.22, 0.32)  # from the axis of turning to the wrist
        self.pace = random.normal(1.0, 0.07)
        self.vigour = random.lognormal(0.0, 0.2)
        self.strap = np.radians(random.normal(0.0, (8.0, 12.0, 8.0)))  # how the sensor sits on the wrist
        self.gain = 1 + random.normal(0.0, 0.01, 6)
        self.offset = random.normal(0.0, (0.02, 0.02, 0.02, 0.01, 0.01, 0.01))
        self.left = random.random() < 0.5

    def near(self, value: float, share: float = 0.08) -> float:
        """A value that differs a little from recording to recording."""
        return float(value * self.random.normal(1.0, share))


# --- what the arm and the body do: (pitch of the forearm, rad; acceleration of the body upwards and forward, m/s2) ---


def sit(p: Person, t: Signal) -> tuple[Signal, Signal, Signal]:
    """The forearm on a table or a lap; breathing, and now and then the hand moves."""
    rest = np.radians(p.random.normal(85.0, 12.0))
    pitch = rest + np.radians(0.3) * np.sin(2 * np.pi * p.near(0.25) * t) + gestures(p, t, 0.25, np.radians(20.0))
    return pitch, tremor(p, t, 0.03), tremor(p, t, 0.03)


def stand(p: Person, t: Signal) -> tuple[Signal, Signal, Signal]:
    """The arm hangs; the body sways and the arm with it."""
    rest = np.radians(p.random.normal(8.0, 8.0))
    sway = np.radians(1.5) * drift(p, t, 0.6)
    return rest + sway + gestures(p, t, 0.1, np.radians(10.0)), tremor(p, t, 0.05), 0.1 * drift(p, t, 0.5)


def walk(p: Person, t: Signal) -> tuple[Signal, Signal, Signal]:
    """The arm swings once in two steps; the body bobs with every step."""
    steps = p.near(1.85 * p.pace, 0.05)
    swing = np.radians(p.near(22.0 * p.vigour, 0.15))
    phase = beat(p, t, steps / 2)
    pitch = np.radians(p.near(15.0, 0.3)) + swing * np.sin(phase) + 0.12 * swing * np.sin(2 * phase + 0.5)
    return pitch, bounce(p, phase, p.near(2.2 * p.vigour), 0.35), 0.5 * p.near(2.0) * np.sin(2 * phase + 0.9)


def run(p: Person, t: Signal) -> tuple[Signal, Signal, Signal]:
    """Elbows bent, quick swings, and an impact with every step."""
    steps = p.near(2.75 * p.pace, 0.04)
    swing = np.radians(p.near(32.0 * p.vigour, 0.15))
    phase = beat(p, t, steps / 2)
    pitch = np.radians(p.near(95.0, 0.08)) + swing * np.sin(phase)
    return pitch, bounce(p, phase, p.near(12.0 * p.vigour, 0.15), 0.6), p.near(4.0) * np.sin(2 * phase + 0.7)


def cycle(p: Person, t: Signal) -> tuple[Signal, Signal, Signal]:
    """The hand on a handlebar: the road's vibration, and a little of the pedalling."""
    cadence = beat(p, t, p.near(1.25 * p.pace, 0.1))
    pitch = np.radians(p.near(55.0, 0.12)) + np.radians(1.2) * np.sin(cadence) + np.radians(0.8) * drift(p, t, 1.0)
    road = p.near(1.6 * p.vigour, 0.3)
    return pitch, road * vibration(p, t, 7.0, 20.0), 0.6 * road * vibration(p, t, 7.0, 20.0) + 0.2 * np.sin(2 * cadence)


def climb(p: Person, t: Signal) -> tuple[Signal, Signal, Signal]:
    """Stairs: slower steps than walking, a long push upwards, a smaller swing of a bent arm."""
    steps = p.near(1.45 * p.pace, 0.06)
    swing = np.radians(p.near(13.0 * p.vigour, 0.2))
    phase = beat(p, t, steps / 2)
    pitch = np.radians(p.near(32.0, 0.2)) + swing * np.sin(phase) + 0.3 * swing * np.sin(2 * phase + 1.2)
    push = bounce(p, phase, p.near(2.4 * p.vigour), 0.15) + p.near(1.0) * np.sin(2 * phase - 0.6)
    return pitch, push, p.near(0.8) * np.sin(2 * phase + 0.3)


MOTIONS: tuple[Callable[[Person, Signal], tuple[Signal, Signal, Signal]], ...] = (sit, stand, walk, run, cycle, climb)


# --- their parts -----------------------------------------------------------------------------------------------------


def beat(p: Person, t: Signal, rate_hz: float) -> Signal:
    """The phase of a rhythm that is not quite even, from anywhere in its period."""
    wander = np.cumsum(p.random.normal(0.0, 0.03, t.size)) / np.sqrt(RATE_HZ)
    return 2 * np.pi * rate_hz * t + wander + p.random.uniform(0, 2 * np.pi)


def bounce(p: Person, phase: Signal, strength: float, sharpness: float) -> Signal:
    """Two steps a period: a smooth wave and a short impact after each foot comes down."""
    step = np.mod(phase / np.pi, 1.0)
    impact = np.where(step < 0.3, np.sin(np.pi * step / 0.3), 0.0) ** 2
    uneven = 1 + 0.08 * np.sign(np.sin(phase))
    return strength * uneven * ((1 - sharpness) * np.sin(2 * phase) + sharpness * (3 * impact - 0.45))


def smooth(p: Person, t: Signal, low_hz: float, high_hz: float) -> Signal:
    """Noise of unit variance within a band."""
    spectrum = np.fft.rfft(p.random.normal(size=t.size))
    frequency = np.fft.rfftfreq(t.size, 1 / RATE_HZ)
    spectrum[(frequency < low_hz) | (frequency > high_hz)] = 0
    noise = np.fft.irfft(spectrum, t.size)
    return noise / max(float(noise.std()), 1e-9)


def drift(p: Person, t: Signal, fastest_hz: float) -> Signal:
    """Slow wandering."""
    return smooth(p, t, 0.05, fastest_hz)


def vibration(p: Person, t: Signal, low_hz: float, high_hz: float) -> Signal:
    """Shaking."""
    return smooth(p, t, low_hz, high_hz)


def tremor(p: Person, t: Signal, strength: float) -> Signal:
    """A hand is never still: 8 to 12 Hz."""
    return strength * smooth(p, t, 8.0, 12.0)


def gestures(p: Person, t: Signal, rate_hz: float, size: float) -> Signal:
    """Now and then the arm goes somewhere and back."""
    pitch = np.zeros_like(t)
    for _ in range(p.random.poisson(rate_hz * t[-1])):
        middle, width = p.random.uniform(0, t[-1]), p.random.uniform(0.3, 0.9)
        pitch += p.random.normal(0, size) * np.exp(-(((t - middle) / width) ** 2))
    return pitch


# --- what the sensor sees --------------------------------------------------------------------------------------------


def sense(p: Person, pitch: Signal, up: Signal, forward: Signal) -> Signal:
    """Six channels, float64 (frames, 6).

    Args:
        p: whose wrist.
        pitch: of the forearm, rad; 0 hangs down, pi / 2 points forward.
        up, forward: acceleration of the body, m/s2.
    """
    rate = np.gradient(pitch, 1 / RATE_HZ)
    change = np.gradient(rate, 1 / RATE_HZ)
    # along the forearm (towards the hand) and across it, in the plane of the swing: acceleration minus gravity is felt
    vertical, ahead = up + G, forward
    along = -vertical * np.cos(pitch) + ahead * np.sin(pitch) - p.lever_m * rate**2
    across = vertical * np.sin(pitch) + ahead * np.cos(pitch) + p.lever_m * change
    side = 0.05 * across + 0.3 * p.random.normal(0, 1) * np.ones_like(pitch)
    twist = 0.15 * rate + 0.02 * drift(p, np.arange(pitch.size) / RATE_HZ, 1.0)
    acceleration = np.stack([along, across, side], axis=1) / G
    turning = np.stack([twist, 0.1 * rate, rate], axis=1)
    if p.left:  # the other wrist is its mirror image
        acceleration[:, 2], turning[:, :2] = -acceleration[:, 2], -turning[:, :2]
    turned = strap_rotation(p.strap)
    signal = np.concatenate([acceleration @ turned.T, turning @ turned.T], axis=1)
    noise = np.array([ACC_NOISE] * 3 + [GYR_NOISE] * 3)
    signal = signal * p.gain + p.offset + p.random.normal(size=signal.shape) * noise
    full = np.array([ACC_RANGE] * 3 + [GYR_RANGE] * 3)
    resolution = full / 32768
    return np.asarray(np.clip(np.rint(signal / resolution), -32768, 32767) * resolution)


def strap_rotation(angles: Signal) -> Signal:
    """The rotation of three small turns, one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def generate(persons: int, recordings: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Recordings of every activity by every person.

    Returns:
        (signals, labels): float32 (count, FRAMES, 6) and int64 (count), in a random order.
    """
    signals, labels = [], []
    t = np.arange(FRAMES) / RATE_HZ
    for number in range(persons):
        person = Person(np.random.default_rng((seed, number)))
        for label, motion in enumerate(MOTIONS):
            for _ in range(recordings):
                signals.append(sense(person, *motion(person, t)))
                labels.append(label)
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.asarray(signals, np.float32)[order], np.asarray(labels)[order]


def write(file: Path, signals: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """A data set as `mmoe-embed train` and `accuracy` read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    described = {"classes": list(ACTIVITIES), "channels": list(CHANNELS), "rate_hz": RATE_HZ, "source": "SYNTHETIC"}
    save_file({"signals": signals, "labels": labels}, file, metadata={"mmoe-embed": json.dumps(described)})


def main() -> None:
    """Write both data sets; nobody is in both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE)
    arguments = parser.parse_args()
    write(arguments.output / "data" / "train.safetensors", *generate(persons=120, recordings=6, seed=1))
    write(arguments.output / "data" / "heldout.safetensors", *generate(persons=25, recordings=2, seed=2))


if __name__ == "__main__":
    main()
