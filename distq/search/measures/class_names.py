"""The classes of the two data sets that detectors are trained on, in the order of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

_COCO_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,"
    "tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush"
)
_VOC_NAMES = (
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,"
    "pottedplant,sheep,sofa,train,tvmonitor"
)
COCO, VOC = (tuple(names.split(",")) for names in (_COCO_NAMES, _VOC_NAMES))
_ALSO = {
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
"""What COCO calls classes of VOC."""


def class_map(names: Sequence[str], classes: int) -> tuple[int, ...] | None:
    """A network's class for each class of annotations; -1 for one that it does not know.

    As many classes on both sides are the same ones in the same order. Else names decide, where the network
    has as many classes as COCO (80) or VOC (20).

    Returns:
        None where neither is so.
    """
    if len(names) == classes:
        return tuple(range(classes))
    own = {80: COCO, 20: VOC}.get(classes)
    if own is None:
        return None
    numbers = {_common(name): number for number, name in enumerate(own)}
    found = tuple(numbers.get(_common(name), -1) for name in names)
    return found if max(found, default=-1) >= 0 else None


def _common(name: str) -> str:
    plain = name.strip().lower().replace("_", " ")
    return _ALSO.get(plain.replace(" ", ""), plain).replace(" ", "")
