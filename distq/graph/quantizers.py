"""Quantizers: which tensors share one, and what is known of its range before any sample is seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from distq.errors import UsageError
from distq.graph.kernel_tensors import bounds_of
from distq.graph.layers import BOUNDED, saturating_follower
from distq.graph.scores import least_high
from distq.graph.values import values_of
from distq.quant.layer_config import ThresholdSetting

if TYPE_CHECKING:
    import onnx_ir as ir


ChannelRange = tuple[float, float]
"""Lower and upper end of one channel's range."""


@dataclass(frozen=True)
class Quantizer:
    """One scale and zero point, and the tensors that share it.

    Attributes:
        name: the tensor whose distribution sets the threshold.
        tensors: all that share the quantizer, ``name`` among them, in graph order.
        bits: 8 or 16.
        non_negative: its values are never negative, whatever is observed.
        cap: upper bound of the range: that of the Clip the quantizer replaces.
        least_high: lower bound of the range's upper end: what a kernel can write at least.
        keep_range: the whole observed range matters: a network input or a bounded activation, whose ends
            carry meaning.
        setting: what the user set for it.
        channels: the range (low, high) of each channel, which then has a scale and a zero point of its own;
            empty: one scale for all.
    """

    name: str
    tensors: tuple[str, ...]
    bits: int = 8
    non_negative: bool = False
    cap: float = float("inf")
    least_high: float = 0.0
    keep_range: bool = False
    setting: ThresholdSetting | None = None
    channels: tuple[ChannelRange, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether the user fixed its range, so that nothing is searched."""
        return self.setting is not None and self.setting.fixed


def make_quantizers(
    graph: ir.Graph,
    tensors: set[ir.Value],
    ties: Sequence[tuple[ir.Value, ir.Value]],
    seconds: Collection[str],
) -> Iterator[Quantizer]:
    """Quantizers of 8 bits, in the order of their first tensor.

    Args:
        graph: of the model.
        tensors: that are quantized.
        ties: pairs of tensors that share a quantizer.
        seconds: tensors whose quantizer is that of those joined to them.
    """
    return (_quantizer(graph, group, seconds, tensors) for group in _groups(graph, tensors, ties))


def _groups(
    graph: ir.Graph, tensors: set[ir.Value], ties: Sequence[tuple[ir.Value, ir.Value]]
) -> list[list[ir.Value]]:
    """Union of tied tensors; each group in graph order, groups in the order of their first tensor."""
    parent = {t: t for t in tensors}

    def root(value: ir.Value) -> ir.Value:
        while parent[value] is not value:
            value = parent[value]
        return value

    for a, b in ties:
        if a in parent and b in parent:
            parent[root(a)] = root(b)
    members: dict[ir.Value, list[ir.Value]] = {}
    for value in values_of(graph):
        if value in parent:
            members.setdefault(root(value), []).append(value)
    return list(members.values())


def _quantizer(
    graph: ir.Graph, group: list[ir.Value], seconds: Collection[str], quantized: Collection[ir.Value]
) -> Quantizer:
    """The group's last Concat names it: its distribution is the union.

    Else the second of the last two that were joined, else its first tensor behind the activation.
    """
    concats = [v for v in group if (p := v.producer()) is not None and p.op_type == "Concat"]
    joined = [v for v in group if v.name in seconds]
    source = (concats or joined or group[:1])[-1]
    if not concats and not joined and (producer := source.producer()) is not None:
        follower = saturating_follower(producer)
        source = next((v for v in group if follower is not None and v is follower.outputs[0]), source)
    producer = source.producer()
    bounds = bounds_of(source)
    return Quantizer(
        name=source.name or "",
        tensors=tuple(v.name or "" for v in group),
        non_negative=bounds is not None,
        cap=bounds[1] if bounds is not None else float("inf"),
        least_high=least_high(source, quantized),
        keep_range=source in graph.inputs or (producer is not None and producer.op_type in BOUNDED),
    )


def with_bits(quantizers: Iterable[Quantizer], int16: Collection[str]) -> Iterable[Quantizer]:
    """A quantizer has 16 bits where one of its tensors is to."""
    for q in quantizers:
        wide = any(t in int16 for t in q.tensors)
        yield replace(q, bits=16) if wide else q


def with_settings(
    quantizers: Iterable[Quantizer], settings: Mapping[str, ThresholdSetting]
) -> Iterable[Quantizer]:
    """What the user set for any of the tensors of a quantizer is set for it.

    Raises:
        UsageError: two of its tensors have different settings.
    """
    for q in quantizers:
        given = [name for name in q.tensors if name in settings]
        for name in given[1:]:
            if settings[name] != settings[given[0]]:
                raise UsageError(
                    f"{given[0]} and {name} share one threshold, and --layer-config sets them apart: "
                    "set one of them alone"
                )
        yield replace(q, setting=settings[given[0]]) if given else q


def with_channels(
    quantizers: Iterable[Quantizer], ranges: Mapping[str, tuple[ChannelRange, ...]]
) -> Iterable[Quantizer]:
    """Quantizers of one tensor, with 8 bits, get the ranges of its channels; others keep one scale."""
    for q in quantizers:
        alone = q.bits == 8 and len(q.tensors) == 1
        yield replace(q, channels=ranges[q.name]) if alone and q.name in ranges else q
