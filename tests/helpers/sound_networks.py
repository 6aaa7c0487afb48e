"""Networks of sound: a transform of fixed waves at the input, a logarithm, and convolutions behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from job_helpers import Graph

LENGTH, HOP, SAMPLES = 64, 32, 1024
MELS = 12

Matrix = npt.NDArray[np.float64]


def stft(length: int = LENGTH) -> tuple[Matrix, Matrix]:
    """Cosines and sines in a Hann window, a row a frequency."""
    time, window = np.arange(length), np.hanning(length)
    angles = 2 * np.pi * np.outer(np.arange(length // 2 + 1), time) / length
    return np.cos(angles) * window, -np.sin(angles) * window


def constant_q(bins: int = 24) -> tuple[Matrix, Matrix]:
    """Waves of the same number of periods, the higher the shorter, in the middle of rows of one length."""
    rows = np.zeros((2, bins, LENGTH * 2))
    for number in range(bins):
        frequency = 0.06 * 2 ** (number / 12)
        length = int(min(LENGTH * 2, 6 / frequency))
        start = LENGTH - length // 2
        angle = 2 * np.pi * frequency * np.arange(length)
        rows[:, number, start : start + length] = [np.cos(angle), np.sin(angle)] * np.hanning(length)
    return rows[0], rows[1]


def mel(bands: int = MELS, bins: int = LENGTH // 2 + 1) -> Matrix:
    """Triangles, (bins, bands), the higher the wider."""
    edges = (bins - 1) * (np.linspace(0.02, 1, bands + 2) ** 1.5)
    bin_of = np.arange(bins)[:, None]
    rise = (bin_of - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bin_of) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def sound_network(
    waves: Callable[[], tuple[Matrix, Matrix]] = stft, *, together: bool = False
) -> onnx.ModelProto:
    """Waveform (1, 1024) to two outputs a frame; the waves in two convolutions or in one."""
    graph = Graph(5)
    real, imaginary = waves()
    bins = len(real)
    graph.add("Unsqueeze", ["wave", _integers(graph, [1])], "channel")
    if together:
        weight = graph.constant(np.concatenate([real, imaginary])[:, None])
        graph.add("Conv", ["channel", weight], "waves", strides=[HOP])
        graph.add("Split", ["waves", _integers(graph, [bins, bins])], "real", axis=1)
        graph.nodes[-1].output.append("imaginary")
    else:
        for name, rows in (("real", real), ("imaginary", imaginary)):
            graph.add("Conv", ["channel", graph.constant(rows[:, None])], name, strides=[HOP])
    for name in ("real", "imaginary"):
        graph.add("Mul", [name, name], f"{name}_power")
    bands = graph.add("Add", ["real_power", "imaginary_power"], "power")
    if bins == LENGTH // 2 + 1:
        graph.add("Transpose", ["power"], "by_frame", perm=[0, 2, 1])
        graph.add("MatMul", ["by_frame", graph.constant(mel())], "mel")
        bins, bands = MELS, graph.add("Transpose", ["mel"], "bands", perm=[0, 2, 1])
    graph.add("Add", [bands, graph.constant(1e-4)], "above")
    graph.add("Log", ["above"], "log")
    first = graph.constant(graph.rng.standard_normal((16, bins, 3)) * np.sqrt(2 / (3 * bins)))
    graph.add("Conv", ["log", first, graph.constant(np.zeros(16))], "sums", pads=[1, 1])
    graph.add("Relu", ["sums"], "hidden")
    second = graph.constant(graph.rng.standard_normal((2, 16, 3)) * np.sqrt(2 / 48))
    graph.add("Conv", ["hidden", second, graph.constant(np.zeros(2))], "y", pads=[1, 1])
    return graph.model({"y": (1, 2, "frames")}, {"wave": (1, SAMPLES)})  # type: ignore[dict-item]  # a name


def tones(count: int) -> npt.NDArray[np.float32]:
    """Waveforms, (count, 1024): a few notes of different loudness, and little noise."""
    rng, time = np.random.default_rng(0), np.arange(SAMPLES)
    frequency, loudness = rng.uniform(0.02, 0.45, (count, 3, 1)), 10 ** rng.uniform(-2.5, 0, (count, 3, 1))
    wave: Any = (loudness * np.sin(2 * np.pi * frequency * time)).sum(axis=1)
    return np.asarray(wave + 0.003 * rng.standard_normal((count, SAMPLES)), np.float32)


def _integers(graph: Graph, values: list[int]) -> str:
    name = f"integers{len(graph.constants)}"
    graph.constants.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    return name
