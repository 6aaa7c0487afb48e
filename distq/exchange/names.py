"""From the names of a format to the tensors and nodes of the user's network, and what is left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from distq.exchange.network import Network
from distq.exchange.table import Entry, ExchangeTable, Naming, WeightScales
from distq.exchange.text import listed

_INT8_COPY = "_int8"


@dataclass(frozen=True)
class Named:
    """A table with tensors of a network, and names of it that are none."""

    table: ExchangeTable
    surplus: tuple[str, ...]


def with_tensor_names(table: ExchangeTable, network: Network) -> Named:
    """The table with the network's names: tensors, and nodes for weights.

    Of two thresholds for one tensor the larger counts, which a warning says.
    """
    known = _known(network, table.naming)
    entries: dict[str, Entry] = {}
    surplus, several = [], []
    for name, entry in _apart(table, network).items():
        tensor = known.get(name)
        if tensor is None:
            if name not in network.parameters:
                surplus.append(name)
            continue
        before = entries.get(tensor)
        if before is not None and before.threshold != entry.threshold:
            several.append(tensor)
        if before is None or before.threshold < entry.threshold:
            entries[tensor] = entry
    for own, behind in network.normalized.items():
        if own in entries and behind not in entries:
            entries[behind] = entries.pop(own)
    warnings = list(table.warnings)
    if several:
        warnings.append(
            f"several thresholds of one tensor, of which the largest counts: {listed(several, 3)}"
        )
    modes = {known[name]: mode for name, mode in table.modes.items() if name in known}
    surplus += [name for name in table.modes if name not in known and name not in network.parameters]
    named = replace(
        table,
        entries=entries,
        weights=_weights(table, network),
        modes=modes,
        naming="tensor",
        warnings=tuple(warnings),
        details=None,
    )
    return Named(named, tuple(surplus))


def _apart(table: ExchangeTable, network: Network) -> dict[str, Entry]:
    """Entries of layers that change a blob in place, by what each writes: the last one's is the blob's.

    A table without the last one, as of a tool that merges layers, has the blob's threshold at an earlier one.
    """
    if table.naming != "layer" or not network.layers:
        return dict(table.entries)
    by_layer = table.layers or table.entries
    own = {}
    for node in network.own_nodes:
        blob = next(iter(network.own_outputs(node)), "")
        last = network.producer.get(blob)
        if last is not None and len(node.outputs) == 1 and {node.name, last.name} <= by_layer.keys():
            own[node.name] = node.outputs[0]
    named = {name: entry for name, entry in table.entries.items() if table.layers or name not in own}
    return {tensor: by_layer[name] for name, tensor in own.items()} | named


def _known(network: Network, naming: Naming) -> Mapping[str, str]:
    """Tensors by what a table may call them, a tensor's own name before all others."""
    known: dict[str, str] = {}
    for node in network.nodes:
        ends = node.inputs if naming == "layer input" else node.outputs
        if ends:
            known.setdefault(node.name, ends[0])
    for layer in network.weighted:
        known.setdefault(layer.layer, layer.input if naming == "layer input" else layer.output)
    if naming == "operator":
        known |= {f"{t}_{node.op}": t for t, node in network.producer.items()}
    if naming == "fused":
        known |= {f"{t}{_INT8_COPY}": t for t in (*network.inputs, *network.outputs)}
    own = {tensor: tensor for tensor in network.tensors}
    return own | known if naming == "layer input" else known | own


def _weights(table: ExchangeTable, network: Network) -> dict[str, WeightScales]:
    """Scales by node, of a table that names initializers, nodes or what they write."""
    found = {}
    for node in network.weighted:
        names = (
            node.weight,
            node.name,
            node.layer,
            node.output,
            f"{node.name}_weight",
            f"{node.layer}_weight",
            f"{node.output}_{node.op}_weight",
        )
        scales = next((table.weights[name] for name in names if name in table.weights), None)
        if scales is not None and len(scales.scales) in {1, node.channels}:
            found[node.name] = scales
    return found
