"""The networks benchmarks run on, their preprocessing, and which samples calibrate and which are held out.

Paths are below the data folder a benchmark is given: ``models/``, ``imagenet1k/``, ``cifar10/``, ``faces/``,
``detection/indoor/`` and ``tracking/``. Nothing held out is seen by calibration or search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Judge = Literal["top-1", "faces", "objects", "peak"]
"""What is compared besides raw outputs: the class, boxes of two detectors, the peak of a tracker's map."""

Step = dict[str, object]

RGB: Step = {"color": "rgb"}
CROP_224: Step = {"center_crop": {"height": 224, "width": 224}}
UNIT: Step = {"scale": 1 / 255}


@dataclass(frozen=True)
class Lines:
    """``count`` samples of a source: its lines or rows ``start``, ``start + step``, ... counted from 0."""

    source: str
    start: int
    count: int
    step: int = 1

    def indices(self, most: int | None = None) -> range:
        """Their indices; the first ``most`` of them."""
        count = self.count if most is None else min(most, self.count)
        return range(self.start, self.start + count * self.step, self.step)


@dataclass(frozen=True)
class Network:
    """A network and its split.

    Attributes:
        name: File name below ``models/``, without ``.onnx``.
        judge: What is compared besides the raw outputs.
        steps: Preprocessing of images, as in a preprocessing file.
        calibration: What every quantizer calibrates on.
        tuning: The first so many of those are what distq's search scores on.
        held_out: What everyone is measured on.
    """

    name: str
    judge: Judge
    steps: tuple[Step, ...]
    calibration: Lines
    tuning: int
    held_out: Lines

    @property
    def is_detector(self) -> bool:
        """Whether its boxes are compared, on the photos of :data:`DETECTION_FOLDERS`."""
        return self.judge in {"faces", "objects"}


DETECTION_FOLDERS = ("faces", "detection/indoor")

_PHOTOS = "imagenet1k/labels.txt"

NETWORKS = (
    Network(
        "squeezenet1.1",
        "top-1",
        (CROP_224, RGB, UNIT, {"mean": [0.485, 0.456, 0.406]}, {"std": [0.229, 0.224, 0.225]}),
        Lines(_PHOTOS, 0, 128),
        64,
        Lines(_PHOTOS, 128, 372),
    ),
    Network(
        "mobilenet_v1_0.75_224",
        "top-1",
        (CROP_224, RGB, {"scale": 1 / 127.5}, {"mean": [1, 1, 1]}),
        Lines(_PHOTOS, 0, 128),
        64,
        Lines(_PHOTOS, 128, 372),
    ),
    Network(
        "version-RFB-320",
        "faces",
        ({"resize": {"height": 240, "width": 320}}, RGB, {"mean": [127, 127, 127]}, {"std": [128, 128, 128]}),
        Lines(_PHOTOS, 0, 128),
        64,
        Lines(_PHOTOS, 128, 200),
    ),
    Network(
        "resnet20_cifar10",
        "top-1",
        (RGB, UNIT, {"mean": [0.4914, 0.4822, 0.4465]}, {"std": [0.247, 0.2435, 0.2616]}),
        Lines("cifar10/calib/labels.txt", 1, 128, step=2),
        64,
        Lines("cifar10/test/labels.txt", 0, 500),
    ),
    Network(
        "yolox_nano",
        "objects",
        ({"resize": {"height": 416, "width": 416, "letterbox": "top_left", "pad": 114}}, {"color": "bgr"}),
        Lines(_PHOTOS, 0, 128),
        64,
        Lines(_PHOTOS, 128, 200),
    ),
    Network(
        "nanotrackv2_head_sim",
        "peak",
        (),
        Lines("tracking/head_inputs.npz", 0, 40),
        20,
        Lines("tracking/head_inputs.npz", 40, 24),
    ),
)

BY_NAME = {network.name: network for network in NETWORKS}
