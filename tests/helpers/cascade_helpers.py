"""A small cascade of made networks: one looks at a picture, the other at the crops that it finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from job_helpers import Graph, write_model

import distq

PICTURE = 16
CROP = 8


def finder(seed: int = 1) -> onnx.ModelProto:
    """Picture (1, 3, 16, 16) to ``heat`` (1, 1, 16, 16) and ``kept`` (1, 4, 16, 16)."""
    graph = Graph(seed)
    graph.add("Relu", [graph.conv("x", (3, 4), "sums", gain=(8, 1, 1, 1))], "kept")
    graph.conv("kept", (4, 1), "heat")
    side = PICTURE
    return graph.model({"heat": (1, 1, side, side), "kept": (1, 4, side, side)}, {"x": (1, 3, side, side)})


def reader(seed: int = 2) -> onnx.ModelProto:
    """Crops (n, 3, 8, 8) to ``scores`` (n, 4)."""
    graph = Graph(seed)
    graph.add("Relu", [graph.conv("crops", (3, 4), "sums", gain=(8, 1, 1, 1))], "features")
    graph.add("GlobalAveragePool", ["features"], "average")
    graph.add("Flatten", ["average"], "flat")
    graph.gemm("flat", (4, 4), "scores")
    return graph.model({"scores": ("n", 4)}, {"crops": ("n", 3, CROP, CROP)})  # type: ignore[dict-item]  # an open dimension


class FindAndRead(distq.Cascade):
    """The finder's hottest places are what the reader reads: up to three crops a picture."""

    def forward(self, picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        heat, _ = self.models["finder"](picture)
        hot = np.argsort(-heat[0, 0, :CROP, :CROP].ravel(), kind="stable")[:3]
        hot = hot[heat[0, 0, :CROP, :CROP].ravel()[hot] > 0]
        crops = [picture[:, y : y + CROP, x : x + CROP] for y, x in zip(*divmod(hot, CROP), strict=True)]
        empty = np.zeros((0, 3, CROP, CROP), np.float32)
        return self.models["reader"](np.stack(crops) if crops else empty)[0]


def write_cascade(folder: Path) -> dict[str, Path]:
    """Both networks as files, by name; the reader comes first, though it is called last."""
    return {
        "reader": write_model(folder / "reader.onnx", reader()),
        "finder": write_model(folder / "finder.onnx", finder()),
    }


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Normal values."""
    return np.random.default_rng(seed).standard_normal((count, 3, PICTURE, PICTURE)).astype(np.float32)
