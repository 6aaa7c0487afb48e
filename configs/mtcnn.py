"""MTCNN's three networks from photos to tuned INT8, each on what the others hand to it.

    python configs/mtcnn.py CAFFE_FOLDER PHOTOS OUT

CAFFE_FOLDER holds mtcnn_det1.prototxt to mtcnn_det3.prototxt with their .caffemodel files, as published by
kpzhang93/MTCNN_face_detection_alignment. Written after Zhang et al., "Joint Face Detection and Alignment
using Multi-task Cascaded Convolutional Networks", IEEE Signal Processing Letters 23 (10), 2016.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx

import distq

Array = npt.NDArray[np.float32]

SMALLEST_FACE = 24
SHRINK = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)


class Mtcnn(distq.Cascade):
    """The proposal, refinement and output networks, called ``pnet``, ``rnet`` and ``onet``."""

    def forward(self, photo: npt.NDArray[np.uint8]) -> Array:
        """Faces of a photo.

        Args:
            photo: uint8 (H, W, 3) in BGR order.

        Returns:
            (n, 5): left, top, right, bottom in pixels, and score; the best first.
        """
        pixels = normalized(photo[:, :, ::-1])
        boxes = self.proposals(pixels)
        boxes = self.refined(pixels, boxes, "rnet", 24, THRESHOLDS[1])
        faces = self.refined(pixels, boxes, "onet", 48, THRESHOLDS[2], of_smaller=True)
        return faces[:, :5]

    def proposals(self, pixels: Array) -> Array:
        """Boxes of the first network, which looks at the whole photo in several sizes."""
        height, width = pixels.shape[:2]
        scale, found = 12 / SMALLEST_FACE, [np.zeros((0, 9), np.float32)]
        while min(height, width) * scale >= 12:
            size = int(np.ceil(width * scale)), int(np.ceil(height * scale))
            small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            regression, scores = self.models["pnet"](small.transpose(2, 1, 0)[np.newaxis])
            x, y = np.nonzero(scores[0, 1] > THRESHOLDS[0])
            corners = np.stack([2 * x, 2 * y, 2 * x + 12, 2 * y + 12], 1) / scale
            boxes = np.column_stack([corners, scores[0, 1, x, y], regression[0, :, x, y]])
            found.append(boxes[suppressed(boxes, 0.5)])
            scale *= SHRINK
        boxes = np.concatenate(found)
        return calibrated(boxes[suppressed(boxes, 0.7)])

    def refined(
        self, pixels: Array, boxes: Array, model: str, side: int, least: float, *, of_smaller: bool = False
    ) -> Array:
        """Those of the boxes that a later network accepts, with its corners."""
        boxes = squared(boxes)
        crops = [crop(pixels, box, side) for box in boxes]
        batch = np.stack(crops) if crops else np.zeros((0, 3, side, side), np.float32)
        outputs = self.models[model](batch)
        regression, scores = outputs[0], outputs[-1][:, 1]
        good = scores > least
        boxes = np.column_stack([boxes[good, :4], scores[good], regression[good]])
        if not of_smaller:
            return calibrated(boxes[suppressed(boxes, 0.7)])
        boxes = calibrated(boxes)
        return boxes[suppressed(boxes, 0.7, of_smaller=True)]


def normalized(rgb: npt.NDArray[np.uint8]) -> Array:
    """As the networks were trained."""
    return ((rgb.astype(np.float32) - 127.5) / 128).astype(np.float32)


def crop(pixels: Array, box: Array, side: int) -> Array:
    """A square of the photo, black beyond its edges, resized: (3, side, side), width before height."""
    left, top, right, bottom = np.round(box[:4]).astype(int)
    height, width = pixels.shape[:2]
    black = normalized(np.zeros(1, np.uint8))[0]
    cut = np.full((max(bottom - top, 1), max(right - left, 1), 3), black, np.float32)
    y, x = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    inside = pixels[y, x]
    if inside.size:
        cut[
            y.start - top : y.start - top + inside.shape[0], x.start - left : x.start - left + inside.shape[1]
        ] = inside
    return cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA).transpose(2, 1, 0)


def calibrated(boxes: Array) -> Array:
    """Boxes moved by the fractions of their sides in columns 5 to 8."""
    sides = np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
    return np.column_stack([boxes[:, :4] + boxes[:, 5:9] * sides, boxes[:, 4:]]).astype(np.float32)


def squared(boxes: Array) -> Array:
    """Boxes as squares around the same middle, as long as their longer side."""
    middle = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    return np.column_stack([middle - half, middle + half, boxes[:, 4:]])


def overlap(box: Array, boxes: Array, *, of_smaller: bool = False) -> Array:
    """Common area of a box with each of others, as a part of both together or of the smaller of the two."""
    common = np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2])
    area = np.prod(np.maximum(common, 0), axis=1)
    own, others = np.prod(box[2:4] - box[:2]), np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    return area / np.maximum(np.minimum(own, others) if of_smaller else own + others - area, 1e-9)


def suppressed(boxes: Array, most: float, *, of_smaller: bool = False) -> list[int]:
    """Indices of boxes that overlap no better one by more than a part; the best first."""
    left, kept = list(np.argsort(-boxes[:, 4], kind="stable")), []
    while left:
        best = left.pop(0)
        kept.append(best)
        parts = overlap(boxes[best], boxes[left], of_smaller=of_smaller) if left else []
        left = [index for index, part in zip(left, parts, strict=True) if part <= most]
    return kept


def open_sizes(prototxt: Path, path: Path) -> Path:
    """The first network as ONNX that takes photos of any size; its prototxt has the 12 pixels of training."""
    distq.convert_network(prototxt, out=path)
    model = onnx.load(path)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((2, "width"), (3, "height")):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{name}"
    onnx.save(model, path)
    return path


def mtcnn(caffe: Path, folder: Path) -> Mtcnn:
    """The cascade of the published Caffe files; ``folder`` gets the first network as ONNX."""
    folder.mkdir(parents=True, exist_ok=True)
    return Mtcnn(
        {
            "pnet": open_sizes(caffe / "mtcnn_det1.prototxt", folder / "pnet.onnx"),
            "rnet": caffe / "mtcnn_det2.prototxt",
            "onet": caffe / "mtcnn_det3.prototxt",
        }
    )


def main(caffe: str, photos: str, out: str) -> None:
    """Tune all three and print their distances from float."""
    cascade = mtcnn(Path(caffe), Path(f"{out}-models"))
    result = cascade.tune(photos, out=out, items=0, samples=128, holdout=64)
    for name, run in result.runs.items():
        shown = run.holdout or run.tuning
        if shown is not None and shown.after is not None:
            print(f"{name}: {shown.before.sqnr_db:.2f} dB calibrated, {shown.after.sqnr_db:.2f} dB tuned")


if __name__ == "__main__":
    main(*sys.argv[1:])
