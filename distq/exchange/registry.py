"""The formats of tables, and which of them a file is."""

from __future__ import annotations

from collections.abc import Mapping

from distq.errors import FileFormatError, UsageError, one_of
from distq.exchange.aimet import AIMET_0, AIMET_1, AIMET_2
from distq.exchange.amct import AMCT
from distq.exchange.bitmain import BITMAIN, BITMAIN_PROTOTXT
from distq.exchange.bitmain_text import BITMAIN_TEXT
from distq.exchange.formats import Format
from distq.exchange.ncnn import NCNN
from distq.exchange.ort import ORT
from distq.exchange.ort_overrides import ORT_OVERRIDES
from distq.exchange.own import CSV, DISTQ
from distq.exchange.ppq import PPQ
from distq.exchange.qtable import QTABLE
from distq.exchange.rknn import RKNN
from distq.exchange.sigmastar import SIGMASTAR
from distq.exchange.table import Convention, ExchangeTable
from distq.exchange.tensorrt import TENSORRT
from distq.exchange.text import Content
from distq.exchange.tpu_mlir import TPU_MLIR
from distq.exchange.two_columns import is_two_columns

FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        *(DISTQ, CSV, TPU_MLIR, QTABLE, BITMAIN, BITMAIN_PROTOTXT, BITMAIN_TEXT, TENSORRT, NCNN),
        *(ORT, ORT_OVERRIDES, SIGMASTAR, AIMET_0, AIMET_1, AIMET_2, RKNN, AMCT, PPQ),
    )
}
"""By the name that ``--to`` and ``--from`` take; a file is the first that recognises it."""

_RECOGNISED_IN_ORDER = (
    *(DISTQ, PPQ, AIMET_0, AIMET_1, AIMET_2, SIGMASTAR, ORT_OVERRIDES, ORT, TENSORRT),
    *(RKNN, BITMAIN_PROTOTXT, AMCT, TPU_MLIR, QTABLE, CSV, NCNN, BITMAIN_TEXT, BITMAIN),
)
PICKLE = b"\x80"
_NETWORKS = (".onnx", ".prototxt", ".caffemodel")


def find_format(name: str) -> Format:
    """The format of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"there is no table format {name}: take {one_of(FORMATS)}")
    return FORMATS[name]


def recognise(content: Content) -> Format:
    """Which format a file is of, by what is in it.

    Raises:
        FileFormatError: of none, or of several that look the same.
    """
    found = next((each for each in _RECOGNISED_IN_ORDER if each.recognise(content)), None)
    if found is not None:
        return found
    if content.data[:1] == PICKLE:
        content.fail(
            "is a pickle, which would run code: save it as JSON, json.dump(pickle.load(...)) without 'data'"
        )
    if is_two_columns(content):
        return _two_columns(content)
    if content.where.lower().endswith(_NETWORKS):
        raise FileFormatError(
            f"{content.where} is a network or its weights, not a threshold table: distq calibrate computes "
            "thresholds, give the RUN/thresholds.json that it writes"
        )
    why = content.why_no_json()
    raise FileFormatError(
        f"{content.where} is not a threshold table: "
        + (f"it is no JSON, {why}" if why else f"known are {', '.join(FORMATS)}")
    )


def _two_columns(content: Content) -> Format:
    """The format of lines ``name number`` and nothing else, which three tools write.

    ncnn ends its lines with a blank; ONNX Runtime's file is called ``.cache``; what is left is Bitmain's.
    """
    lines = (content.text or "").split("\n")
    if lines[0].rstrip("\r").endswith(" "):
        return NCNN
    return ORT if content.where.endswith(".cache") else BITMAIN_TEXT


def read_content(
    content: Content, name: str | None = None, convention: Convention | None = None
) -> tuple[Format, ExchangeTable]:
    """The table a file holds, with the names of its format.

    Args:
        content: of the file.
        name: of the format; None: by content.
        convention: of its thresholds; None: that of the format.

    Raises:
        FileFormatError: it cannot be read as this.
    """
    found = recognise(content) if name is None else find_format(name)
    return found, found.read(content, convention or found.convention or 127)
