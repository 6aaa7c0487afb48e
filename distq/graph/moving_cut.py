"""A cut that moves through a network from its inputs on, and what crosses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from distq.graph.subgraph import Network


class MovingCut:
    """A cut of a network: all nodes stand behind it at first, and what is moved over is in front of it.

    A move takes as long as there are nodes to move over, however large the network is.
    """

    def __init__(self, net: Network) -> None:
        self._net = net
        self._before: set[int] = set()
        self._unread = Counter(name for names in net.reads for name in names)
        self._outputs = frozenset(net.outputs) - net.inputs.keys()
        self._crossing = {name for name in net.inputs if self._unread[name]}

    def move_behind(self, tensors: Iterable[str]) -> None:
        """Move it over all nodes that must run to have these tensors."""
        net = self._net
        todo = [net.producer[name] for name in tensors if name in net.producer]
        while todo:
            node = todo.pop()
            if node in self._before:
                continue
            self._before.add(node)
            todo += net.sources[node]
            made = [name for name in net.nodes[node].output if name]
            self._crossing.update(name for name in made if self._unread[name] or name in self._outputs)
            for name in net.reads[node]:
                self._unread[name] -= 1
                if not self._unread[name] and name not in self._outputs:
                    self._crossing.discard(name)

    @property
    def crossing(self) -> tuple[str, ...]:
        """What the nodes behind it, and the network's outputs, need of what is in front of it or the inputs.

        In the order of the file, inputs first.
        """
        return tuple(sorted(self._crossing, key=lambda name: (self._net.producer.get(name, -1), name)))
