"""RKNN's ``.quantization.cfg`` of hybrid_quantization_step1: ranges that step 2 takes.

Step 2 of rknn-toolkit2 2.5 takes edited ``min`` and ``max``, and refuses an edited ``scale`` or a name of its
own; so the user's own file is filled, and nothing else in it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from distq.errors import UsageError
from distq.exchange.formats import Format, Request
from distq.exchange.table import Convention, Entry, ExchangeTable, of_quantizer, with_range
from distq.exchange.text import Content, listed, load_content, quoted, without
from distq.yaml_text import parse_yaml

_BITS = {"int8": 8, "int16": 16}
_QUANTIZED_COPY = "_int8"
"""What RKNN appends to inputs and outputs of the network for their integer form."""

_LINE = re.compile(r"(?P<blanks> *)(?P<item>- +)?(?P<text>.*?)(?P<end>\r?)$")


@dataclass(frozen=True)
class _Kept:
    """The file as read."""

    content: Content


def _recognise(content: Content) -> bool:
    return (
        content.text is not None
        and re.search(r"^quantize_parameters:", content.text, re.MULTILINE) is not None
    )


def _parameters(content: Content) -> dict[str, dict[str, object]]:
    if content.text is None:
        content.fail("is not text")
    try:
        found = parse_yaml(content.data)
    except ValueError as error:
        content.fail(f"is no YAML: {' '.join(str(error).split())}")
    parameters = found.get("quantize_parameters") if isinstance(found, dict) else None
    if not isinstance(parameters, dict) or not parameters:
        content.fail("has no quantize_parameters; give the .quantization.cfg of step 1")
    for name, row in parameters.items():
        if not isinstance(name, str) or not isinstance(row, dict):
            content.fail(f"the parameters of {quoted(name)} are no mapping")
    return parameters


def _read(content: Content, convention: Convention) -> ExchangeTable:
    del convention
    entries: dict[str, Entry] = {}
    zero: list[str] = []
    for name, row in _parameters(content).items():
        bits = _BITS.get(str(row.get("dtype")))
        lows, highs = row.get("min"), row.get("max")
        if bits is None or not lows or not highs:
            continue
        low, high = (_one(content, value, f"a range of {quoted(name)}") for value in (lows, highs))
        if low > high:
            content.fail(f"the range of {quoted(name)} is from {low:g} to {high:g}")
        if low == high == 0:
            zero.append(name)
            continue
        entries[name] = _entry(row, (min(low, 0.0), max(high, 0.0)), bits)
    if not entries:
        content.fail("has no tensor of int8 or int16 with a range")
    return ExchangeTable(entries, naming="fused", warnings=without(zero), details=_Kept(content))


def _entry(row: dict[str, object], ends: tuple[float, float], bits: int) -> Entry:
    """``asym``: scale (max - min)/255, zero point round(-128 - min/scale); ``sym``: around 0."""
    low, high = ends
    threshold = max(-low, high)
    if row.get("qtype") == "sym":
        return with_range(threshold, low, high, bits)
    steps = 2**bits - 1
    scale = (high - low) / steps
    entry = of_quantizer(scale, round(-low / scale), bits, largest=True)
    return Entry(threshold, low, high, bits, entry.scale, entry.zero_point)


def _one(content: Content, value: object, what: str) -> float:
    if isinstance(value, list):
        if len(value) != 1:
            content.fail(f"{what} has {len(value)} numbers; distq's have one")
        value = value[0]
    return content.number(value, what)


def _write(request: Request) -> bytes:
    """The user's file with other ``min`` and ``max``.

    Tensors that RKNN made itself, such as ``relu1_conv``, keep their range: what they hold is not known.
    """
    table = request.table
    if isinstance(table.details, _Kept):
        return table.details.content.data
    if request.names is None:
        raise UsageError(
            "RKNN's names are those of its own graph: give its step-1 .quantization.cfg with --names"
        )
    content = load_content(request.names, ".quantization.cfg of step 1")
    parameters = _parameters(content)
    known = dict(table.entries) if request.network is None else request.network.entries(table.entries)
    wanted = {
        name: entry
        for name, row in parameters.items()
        if row.get("dtype") in _BITS
        and row.get("min")
        and (entry := known.get(name) or known.get(name.removesuffix(_QUANTIZED_COPY))) is not None
    }
    if not wanted:
        raise UsageError(f"{request.names} has no tensor of the table: give the cfg made of this model")
    kept = [name for name, row in parameters.items() if name not in wanted and row.get("dtype") in _BITS]
    if kept:
        request.warn(f"tensors that the table lacks keep RKNN's own range: {listed(kept, 3)}")
    request.warn_of_weights()
    wide = [name for name, entry in wanted.items() if entry.bits == 16]
    if wide:
        request.warn(f"16 bits are for custom_quantize_layers, by hand: {listed(wide, 3)}")
    return "\n".join(_filled(content, wanted)).encode()


def _filled(content: Content, wanted: dict[str, Entry]) -> Iterator[str]:
    """Lines with the numbers below ``min:`` and ``max:`` of wanted tensors replaced."""
    inside, tensor, key, depth = False, "", "", 0
    for line in (content.text or "").split("\n"):
        match = _LINE.fullmatch(line)
        blanks, text = (len(match["blanks"]), match["text"]) if match else (0, "")
        if match is None or not text or text.startswith("#"):
            yield line
            continue
        if match["item"] and inside and key in {"min", "max"} and tensor in wanted:
            value = wanted[tensor].low if key == "min" else wanted[tensor].high
            yield f"{match['blanks']}{match['item']}{_number(value)}{match['end']}"
            continue
        name = text.partition(":")[0].strip("'\"")
        if blanks == 0 and not match["item"]:
            inside, depth, tensor = name == "quantize_parameters", 0, ""
        elif inside and not match["item"]:
            depth = depth or blanks
            tensor, key = (text.rpartition(":")[0].strip("'\""), "") if blanks == depth else (tensor, name)
        yield line


def _number(value: float) -> str:
    """A number that YAML 1.1 takes as one: with a point before its exponent."""
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")


RKNN = Format("rknn", "RKNN's .quantization.cfg of step 1", _recognise, _read, _write)
