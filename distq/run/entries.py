"""Settings by layer as they are given: a YAML file, a prototxt, or a model that is a prototxt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distq.errors import UsageError
from distq.exchange.caffe.layer_settings import layer_settings_of
from distq.exchange.caffe.network import resolve
from distq.exchange.caffe.prototxt import read_prototxt
from distq.exchange.model_file import is_caffe
from distq.graph.named import matching, nearest
from distq.quant.layer_config import LayerEntry, read_layer_config


@dataclass(frozen=True)
class Entries:
    """Settings by layer name or pattern.

    Attributes:
        by_name: in the order they were given.
        of_prototxt: names of a prototxt, whose layers may have become part of others.
    """

    by_name: Mapping[str, LayerEntry]
    of_prototxt: frozenset[str] = frozenset()

    def origin(self, name: str) -> str:
        """Where an entry comes from, for the user."""
        return f"{name} in the prototxt" if name in self.of_prototxt else f"entry {name} of --layer-config"

    def matched(self, name: str, known: Iterable[str], that: str = "") -> list[str]:
        """The known names that an entry means; none is fine where the entry is of a prototxt.

        Raises:
            UsageError: there is none, with the nearest known one.
        """
        known = list(known)
        found = matching(known, name)
        if not found and name not in self.of_prototxt:
            raise UsageError(
                f"--layer-config: entry {name} matches no layer of the model{that}{nearest(name, known)}"
            )
        return found


def read_entries(path: Path | None, model: Path, method: str) -> Entries:
    """The entries of ``--layer-config``, and of the model itself where that is a prototxt.

    For a layer that both name, those of ``--layer-config`` count.

    Args:
        path: of the file; None without it.
        model: of the network.
        method: that calibrates all layers.

    Raises:
        UsageError: a file cannot be used.
    """
    own = _of_prototxt(model, method) if is_caffe(model) else {}
    writes = _tensors_of_layers(model) if own or (is_caffe(model) and path and is_caffe(path)) else {}
    if path is None:
        return _entries(own, {}, writes)
    if not is_caffe(path):
        given = read_layer_config(path)
        rest = {name: entry for name, entry in own.items() if name not in given}
        return _entries(rest, given, writes)
    given = _of_prototxt(path, method)
    if not given:
        raise UsageError(
            f"--layer-config {path} sets nothing by layer: it has no th_strategy, th_scale, threshold or "
            "forward_with_float"
        )
    return _entries({**own, **given}, {}, writes)


def _entries(
    of_prototxt: Mapping[str, LayerEntry], given: Mapping[str, LayerEntry], writes: Mapping[str, str]
) -> Entries:
    """Entries of a prototxt by what their layers write, before those of a YAML file."""
    own = {writes.get(name, name): entry for name, entry in of_prototxt.items()}
    return Entries({**own, **given}, frozenset(own.keys() - given.keys()))


def _tensors_of_layers(model: Path) -> dict[str, str]:
    """What a layer writes, where a blob that others change in place has the layer's name."""
    layers = resolve(read_prototxt(model)).layers
    tensors = {tensor for layer in layers for tensor in layer.tops}
    return {layer.name: layer.tops[0] for layer in layers if layer.name in tensors}


def _of_prototxt(path: Path, method: str) -> dict[str, LayerEntry]:
    return layer_settings_of(read_prototxt(path), method)
