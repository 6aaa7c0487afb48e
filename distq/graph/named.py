"""What a user may call the nodes of a network, and which of them a name or pattern means."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from distq.errors import UsageError
from distq.graph.layers import saturating_follower
from distq.graph.linear import bias_add
from distq.targets.operators import ABSORBING

if TYPE_CHECKING:
    import onnx_ir as ir


Named = TypeVar("Named")


def nodes_by_name(graph: ir.Graph, aliases: Mapping[str, str] = MappingProxyType({})) -> dict[str, ir.Node]:
    """Each node by its outputs and by its own name; its kernel's parts name it too.

    These are the Add of a MatMul's bias, and a Relu or Clip that a kernel absorbs.

    An output's name goes before that of a node, as it is what tables show.

    Args:
        graph: of the network.
        aliases: what other names mean.
    """
    found: dict[str, ir.Node] = {}
    for node in graph:
        found.update({value.name: node for value in node.outputs if value.name})
    for node in graph:
        found.setdefault(node.name or "", node)
    for node in graph:
        follower = saturating_follower(node) if node.op_type in ABSORBING and not node.domain else None
        parts = {part for part in (bias_add(node), follower) if part is not None}
        found.update(dict.fromkeys([name for name, named in found.items() if named in parts], node))
    return with_aliases(found, aliases)


def with_aliases(known: Mapping[str, Named], aliases: Mapping[str, str]) -> dict[str, Named]:
    """What names mean, with what further ones mean that stand for one of them."""
    others = {name: known[meant] for name, meant in aliases.items() if meant in known}
    return {**others, **known}


def nodes_named(known: Mapping[str, ir.Node], names: Iterable[str], option: str) -> dict[str, list[ir.Node]]:
    """The nodes of each name or pattern.

    Args:
        known: as :func:`nodes_by_name` gives them.
        names: as a user writes them, see :func:`matching`.
        option: the errors name it.

    Raises:
        UsageError: an unknown name, with the nearest known one.
    """
    found = {}
    for name in names:
        found[name] = list(dict.fromkeys(known[n] for n in matching(known, name)))
        if not found[name]:
            raise UsageError(f"{option} names {name}, which is no layer of the model{nearest(name, known)}")
    return found


def matching(known: Iterable[str], pattern: str) -> list[str]:
    """The names that a pattern means: itself where it is one, else what fits it (``fnmatch``)."""
    known = list(known)
    return [pattern] if pattern in known else [name for name in known if fnmatchcase(name, pattern)]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"; the nearest is {near[0]}" if near else ""
