"""Inputs of zoo.py that are synthesized: lines of text, music, and steps of a recording."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

SEED = 0

Array = npt.NDArray[Any]


def text_lines(count: int) -> dict[str, Array]:
    """Lines of words and numbers, 48 x 320, from -1 to 1, with 0 behind the text."""
    random, lines = np.random.default_rng(SEED), []
    for _ in range(count):
        letters = [chr(random.integers(33, 123)) for _ in range(random.integers(6, 18))]
        image = np.full((48, 320, 3), int(random.integers(180, 256)), np.uint8)
        color = [int(level) for level in random.integers(0, 100, 3)]
        size = float(random.uniform(0.7, 1.1))
        cv2.putText(image, "".join(letters), (6, 34), cv2.FONT_HERSHEY_SIMPLEX, size, color, 2, cv2.LINE_AA)
        noisy = image + random.normal(0, 6, image.shape)
        line = (np.clip(noisy, 0, 255) / 127.5 - 1).transpose(2, 0, 1)
        line[:, :, int(random.integers(160, 320)) :] = 0
        lines.append(line)
    return {"x": np.asarray(lines, np.float32)}


def turned_lines(count: int) -> dict[str, Array]:
    """The same lines 48 x 192, half of them upside down."""
    lines = text_lines(count)["x"][:, :, :, :192]
    lines[1::2] = lines[1::2, :, ::-1, ::-1]
    return {"x": np.ascontiguousarray(lines)}


def notes(count: int, length: int, rate: int) -> Array:
    """Waveforms (count, length) of a few notes with overtones, and little noise."""
    random, time = np.random.default_rng(SEED), np.arange(length) / rate
    waves = 0.001 * random.standard_normal((count, length))
    for number in range(count):
        for _ in range(random.integers(3, 9)):
            frequency, loudness = 110 * 2 ** (random.integers(0, 48) / 12), 10 ** random.uniform(-2, -0.5)
            start, decay = random.uniform(0, 0.8) * time[-1], random.uniform(0.1, 0.8)
            fading = np.where(time >= start, np.exp(-np.maximum(time - start, 0) / decay), 0)
            for overtone in range(1, 6):
                tone = np.sin(2 * np.pi * frequency * overtone * time)
                waves[number] += loudness / overtone**1.5 * fading * tone
    return np.asarray(np.clip(waves, -1, 1), np.float32)


def pieces(count: int) -> dict[str, Array]:
    """Two seconds of music each."""
    return {"serving_default_input_2:0": notes(count, 43844, 22050)[..., np.newaxis]}


def steps_of_sound(count: int) -> dict[str, Array]:
    """Steps of one recording that is loud and quiet in turn, each with the end of the one before."""
    (wave,) = notes(1, 512 * count + 64, 16000)
    loud = np.random.default_rng(SEED).choice([0.02, 1.0], size=count // 4 + 1)
    wave = np.asarray(wave * np.repeat(loud, 4 * 512)[: len(wave)], np.float32)
    return {"input": np.stack([wave[i * 512 : i * 512 + 576] for i in range(count)])}
