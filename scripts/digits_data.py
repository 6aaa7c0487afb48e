"""The handwritten digits that the networks of ``distq/assets`` are trained on, and how they are changed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

SEED = 0
TRAINING = 1200
CALIBRATION, HELD_OUT = 128, 300
SIZE = 32

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def digits() -> tuple[Images, Labels]:
    """All 1797 digits (N,8,8) uint8, white on black, in the order of the fixed permutation."""
    bunch = load_digits()
    order = np.random.default_rng(SEED).permutation(len(bunch.target))
    images = np.floor(bunch.images * 255 / 16 + 0.5).astype(np.uint8)
    return images[order], bunch.target[order].astype(np.int64)


def enlarge(image: Images) -> Images:
    """What preprocess.yaml does before the arithmetic: 8x8 to 32x32, linear, uint8."""
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def normalized(images: Images) -> npt.NDArray[np.float32]:
    """The arithmetic of preprocess.yaml: (N,32,32) uint8 to (N,1,32,32) float32 of mean 0 and deviation 1."""
    return ((images.astype(np.float32) / 255 - 0.3) / 0.35)[:, None]


def jitter(image: Images, random: np.random.Generator) -> Images:
    """A copy turned, scaled and shifted a little."""
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), random.uniform(-10, 10), random.uniform(0.9, 1.1))
    matrix[:, 2] += random.uniform(-2, 2, 2)
    return cv2.warpAffine(image, matrix, (SIZE, SIZE))
