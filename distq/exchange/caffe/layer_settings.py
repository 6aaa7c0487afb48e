"""Settings by layer in a prototxt: the fields that Sophgo's fork of Caffe reads when it calibrates."""

from __future__ import annotations

from distq.errors import UsageError
from distq.exchange.caffe.prototxt import Prototxt, included
from distq.exchange.caffe.schema import Message
from distq.quant.layer_config import LayerEntry, LayerMethod, entry_of


def layer_settings_of(prototxt: Prototxt, method: str = "auto") -> dict[str, LayerEntry]:
    """Entries as ``--layer-config`` has them, by layer.

    ``th_strategy`` USE_KL means whichever of KL, SYMKL and JSD calibrates all layers, and KL where none does;
    USE_MAX the largest value; USE_DEFAULT what all layers have. ``th_scale`` is a factor on the threshold,
    ``threshold`` a fixed one for each output, ``forward_with_float`` keeps the layer in float.
    (tips for quantization for BM1684)

    Args:
        prototxt: a network.
        method: that calibrates all layers.

    Returns:
        The layers that have any of these, in the file's order; an output after a layer's first by its own
        name.

    Raises:
        UsageError: values that a layer cannot have; its line is named.
    """
    divergence: LayerMethod = "symkl" if method == "symkl" else "jsd" if method == "jsd" else "kl"
    methods: dict[str, LayerMethod | None] = {"USE_KL": divergence, "USE_MAX": "max", "USE_DEFAULT": None}
    found: dict[str, LayerEntry] = {}
    for layer, line in prototxt.layers():
        if not included(prototxt, layer, line):
            continue
        where = f"{prototxt.path}, line {line}: layer {layer.name}"
        if len(layer.threshold) > max(1, len(layer.top)):
            raise UsageError(
                f"{where} has {len(layer.threshold)} thresholds for {len(layer.top)} outputs: one each"
            )
        if layer.th_strategy not in methods:
            raise UsageError(
                f"{where} has th_strategy {layer.th_strategy}: it is one of {', '.join(methods)}"
            )
        first = _fields(layer, methods)
        if layer.threshold:
            first["threshold"] = layer.threshold[0]
        for name, fields in [(layer.name, first), *_others(layer)]:
            if fields:
                found[name] = entry_of(where, fields)
    return found


def _fields(layer: Message, methods: dict[str, LayerMethod | None]) -> dict[str, object]:
    """What a layer says, but for its thresholds; a fixed one leaves nothing to find or to scale."""
    fields: dict[str, object] = {"float": True} if layer.forward_with_float else {}
    if not layer.threshold:
        if methods[layer.th_strategy] is not None:
            fields["method"] = methods[layer.th_strategy]
        if layer.th_scale != 1.0:
            fields["scale"] = layer.th_scale
    return fields


def _others(layer: Message) -> list[tuple[str, dict[str, object]]]:
    """Thresholds of the outputs behind the first."""
    return [
        (top, {"threshold": value}) for top, value in zip(layer.top[1:], layer.threshold[1:], strict=False)
    ]
