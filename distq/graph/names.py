"""Names of what quantization adds to a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy.typing as npt

from distq.graph.gate import PARTS as GATE_PARTS
from distq.graph.values import names_in, values_of

if TYPE_CHECKING:
    import onnx_ir as ir

Constants = dict[str, npt.NDArray[Any]]
"""Initializers of the quantized model by name."""


PARTS = ("quantized", "scale", "zero_point")
"""What a weight or bias is stored as."""

SWISH_PARTS = (
    *("zero_point", "quantized", "three_scale", "six_scale", "one_scale"),
    *("shift_value", "sum_value", "clip_value", "gate_value"),
)
"""Constants and tensors that a HardSwish is written with."""

SUBPIXEL_PARTS = (
    *("parted", "joined", "strides", "rest", "starts", "ends", "axes", "Shape", "Mul", "Add"),
    *(f"{step}{part}" for step in range(1, 8) for part in ("", "_quantized", "_dequantized")),
)
"""Constants and tensors that a ConvTranspose is written with as a sub-pixel convolution."""


@dataclass(frozen=True)
class Names:
    """Names of what quantization adds to a model; ``tag`` keeps them apart from the user's own."""

    tag: str = ""

    @classmethod
    def free_in(cls, model: ir.Model) -> Names:
        """Names that no value of the model has, its subgraphs' included, and that differ from one another.

        They are looked up once: a model that networks are made of does not change.
        """
        names = _NAMES.get(model)
        if names is None:
            names = _NAMES[model] = cls._free_in(model)
        return names

    @classmethod
    def _free_in(cls, model: ir.Model) -> Names:
        values = [v.name for v in values_of(model.graph) if v.name]  # an output left out has no name
        taken = names_in(model.graph)
        counter = 0
        while True:
            names = cls(f"_distq{counter}" if counter else "")
            made = [name for value in values for name in names.all_of(value)]
            if len(set(made)) == len(made) and taken.isdisjoint(made):
                return names
            counter += 1

    def all_of(self, tensor: str) -> list[str]:
        """Every name that could be made from a tensor's."""
        stems = (self.weight(tensor), self.bias(tensor), self.operand(tensor))
        return [
            self.quantized(tensor),
            self.dequantized(tensor),
            self.scale(tensor),
            self.zero_point(tensor),
            self.unquantized(tensor),
            self.alone(tensor),
            self.read_alone(tensor),
            self.captured(tensor),
            self.float_bias(tensor),
            *(f"{stem}_{part}" for stem in stems for part in (*PARTS, "dequantized", "row", "axis")),
            *(f"{self.swish(tensor)}_{part}" for part in SWISH_PARTS),
            *(f"{self.gate(tensor)}_{part}" for part in GATE_PARTS),
            *(f"{self.subpixel(tensor)}_{part}" for part in SUBPIXEL_PARTS),
        ]

    def quantized(self, tensor: str) -> str:
        """The integer tensor."""
        return f"{tensor}{self.tag}_quantized"

    def dequantized(self, tensor: str) -> str:
        """What its readers see."""
        return f"{tensor}{self.tag}_dequantized"

    def unquantized(self, tensor: str) -> str:
        """A network output before its quantizer, which takes over its name."""
        return f"{tensor}{self.tag}_before_quantizer"

    def alone(self, tensor: str) -> str:
        """A tensor behind an operator that keeps its node and its quantizer apart."""
        return f"{tensor}{self.tag}_alone"

    def read_alone(self, tensor: str) -> str:
        """The same of what nodes in float read of a tensor."""
        return f"{tensor}{self.tag}_read_alone"

    def captured(self, tensor: str) -> str:
        """What graphs inside nodes read in its place."""
        return f"{tensor}{self.tag}_captured"

    def scale(self, name: str) -> str:
        """Scale of a quantizer."""
        return f"{name}{self.tag}_scale"

    def zero_point(self, name: str) -> str:
        """Zero point of a quantizer."""
        return f"{name}{self.tag}_zero_point"

    def weight(self, layer: str) -> str:
        """Stem of a layer's weight constants."""
        return f"{layer}{self.tag}_weight"

    def bias(self, layer: str) -> str:
        """Stem of a layer's bias constants."""
        return f"{layer}{self.tag}_bias"

    def operand(self, tensor: str) -> str:
        """Stem of the constant operand of the node that writes a tensor."""
        return f"{tensor}{self.tag}_operand"

    def swish(self, tensor: str) -> str:
        """Stem of what a HardSwish is written as."""
        return f"{tensor}{self.tag}_swish"

    def gate(self, tensor: str) -> str:
        """Stem of what multiplies a tensor by the factors of its channels, for its SiLU or HardSwish."""
        return f"{tensor}{self.tag}_channels"

    def subpixel(self, tensor: str) -> str:
        """Stem of what a ConvTranspose is written as."""
        return f"{tensor}{self.tag}_subpixel"

    def float_bias(self, layer: str) -> str:
        """A layer's bias where the plan keeps biases in float."""
        return f"{self.bias(layer)}_float"


_NAMES: WeakKeyDictionary[ir.Model, Names] = WeakKeyDictionary()
