"""Run Caffe networks with OpenCV 4, the last to have a Caffe runtime; in an environment of its own.

python caffe_opencv.py FOLDER: for each NAME.prototxt there, with NAME.caffemodel and NAME.feeds.npz, whose
``outputs`` are names of blobs, write NAME.opencv.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np


def main(folder: Path) -> None:
    """Run them all; what OpenCV refuses is printed and left out."""
    for prototxt in sorted(folder.glob("*.prototxt")):
        feeds = dict(np.load(prototxt.with_suffix(".feeds.npz")))
        outputs = [str(name) for name in feeds.pop("outputs")]
        try:
            net = cv2.dnn.readNetFromCaffe(str(prototxt), str(prototxt.with_suffix(".caffemodel")))
            for name, values in feeds.items():
                net.setInput(values, name)
            found = {name: net.forward(name).copy() for name in outputs}
        except cv2.error as error:
            print(f"{prototxt.stem}: {error}", file=sys.stderr)
            continue
        np.savez(prototxt.with_suffix(".opencv.npz"), **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
