"""What a user set by layer, in the names of the network at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from distq.graph.quantizers import ChannelRange
from distq.quant.layer_config import ThresholdSetting
from distq.targets.target import ConcatRule


@dataclass(frozen=True)
class Settings:
    """Settings that a plan follows.

    Attributes:
        floats: nodes that stay float, by name, each with its reason.
        one_scale: nodes of layers whose weights have one scale for all channels.
        concat: whether inputs of a Concat share its quantizer.
        thresholds: what is set for the quantizers of tensors.
        narrow: tensors that keep 8 bits whatever a budget says.
        aliases: names of the user's file that are no longer in the network, and what they mean.
        unused: layers of a prototxt that have no threshold to set anything for.
        float_if_faster: a plan may still keep in float what its target is slower on in INT8; where it was
            decided, ``floats`` has what was found.
        channels: tensors whose channels have a scale and a zero point each, and the ranges of these.
    """

    floats: tuple[tuple[str, str], ...] = ()
    one_scale: frozenset[str] = frozenset()
    concat: ConcatRule = "auto"
    thresholds: tuple[tuple[str, ThresholdSetting], ...] = ()
    narrow: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    float_if_faster: bool = True
    channels: tuple[tuple[str, tuple[ChannelRange, ...]], ...] = ()


NOTHING_SET = Settings()
"""Of a network for which the user set nothing by layer."""
