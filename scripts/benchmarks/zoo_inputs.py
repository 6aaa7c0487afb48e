"""Inputs of zoo.py that are synthesized: lines of text, music, and steps of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

SEED = 0

Array = npt.NDArray[Any]


FONTS = ("sans", "serif", "italic")
"""Those that OpenCV brings along; each has weights."""

WORDS = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8").split()


def words(random: np.random.Generator, most: int) -> str:
    """A few words, a number, a date, or letters and signs that make no word."""
    kind = random.integers(5)
    if kind < 2:
        start = int(random.integers(len(WORDS) - 3))
        return " ".join(WORDS[start : start + int(random.integers(1, 4))])[:most]
    if kind == 2:
        return f"{random.integers(1, 999)},{random.integers(0, 999):03}.{random.integers(0, 99):02}"[:most]
    if kind == 3:
        return f"20{random.integers(10, 30)}-{random.integers(1, 13):02}-{random.integers(1, 29):02}"[:most]
    return "".join(chr(random.integers(33, 123)) for _ in range(random.integers(4, min(most, 14))))


def write(
    image: Array,
    text: str,
    random: np.random.Generator,
    *,
    place: tuple[int, int],
    size: int,
    color: list[int],
) -> int:
    """Draw text in one of the fonts from a place on, the lower left; where it ends."""
    font, weight = cv2.FontFace(str(random.choice(FONTS))), int(random.integers(300, 700))
    (end, _), _ = cv2.putText(image, text, place, color, font, size, weight)
    return int(end)


def text_lines(count: int) -> dict[str, Array]:
    """Lines of words and numbers, 48 x 320, from -1 to 1, with 0 behind the text."""
    random, lines = np.random.default_rng(SEED), []
    for _ in range(count):
        text, size = words(random, 24), int(random.integers(26, 36))
        image = np.full((48, 640, 3), int(random.integers(150, 256)), np.uint8)
        color = [int(level) for level in random.integers(0, 100, 3)]
        if random.random() < 0.3:  # light on dark
            image, color = 255 - image, [255 - level for level in color]
        end = min(write(image, text, random, place=(5, 36), size=size, color=color) + 5, 640)
        if end > 320:  # a long line is made narrower
            image = cv2.resize(image[:, :end], (320, 48), interpolation=cv2.INTER_AREA)
        if random.random() < 0.3:
            image = cv2.GaussianBlur(image, (3, 3), 0)
        noisy = image[:, :320] + random.normal(0, random.uniform(0, 10), (48, 320, 3))
        line = (np.clip(noisy, 0, 255) / 127.5 - 1).transpose(2, 0, 1)
        line[:, :, min(end, 320) :] = 0
        lines.append(line)
    return {"x": np.asarray(lines, np.float32)}


def written_over(photos: Array) -> Array:
    """Photos (count, 3, height, width), a few words on each, darker or lighter than what is behind."""
    random = np.random.default_rng(SEED)
    found = []
    for photo in photos:
        low, high = float(photo.min()), float(photo.max())
        levels = np.ascontiguousarray((photo.transpose(1, 2, 0) - low) / (high - low) * 255, np.float32)
        image = levels.round().astype(np.uint8)
        height, width = image.shape[:2]
        for top in range(int(random.integers(20, 60)), height - 20, int(random.integers(40, 110))):
            size, left = int(random.integers(14, 40)), int(random.integers(0, width // 2))
            behind = image[max(top - size, 0) : top, left : left + 100].mean()
            level = int(random.integers(200, 256) if behind < 128 else random.integers(0, 60))
            write(image, words(random, 18), random, place=(left, top), size=size, color=[level] * 3)
        changed = np.where(image != levels.round(), image, levels)
        found.append((changed / 255 * (high - low) + low).transpose(2, 0, 1))
    return np.asarray(found, np.float32)


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
