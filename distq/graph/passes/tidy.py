"""Small tidying passes: nodes that do nothing at inference, and names."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from distq.graph.read import free_name
from distq.graph.values import constant, subgraphs


class DropIdle(ir.passes.InPlacePass):
    """Remove what does nothing at inference.

    * Dropout whose mask nobody reads, not in training mode.
    * Cast from float32 to float32 is left to the runtime; Identity has a pass of its own.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite readers to the input; a Dropout that writes a graph output becomes an Identity."""
        modified = False
        for node in list(model.graph):
            if node.op_type != "Dropout" or node.domain or len(node.inputs) == 0 or node.inputs[0] is None:
                continue
            if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]) or _may_train(node):
                continue
            out = node.outputs[0]
            if out.is_graph_output():
                identity = ir.node("Identity", [node.inputs[0]], name=node.name)
                name, out.name = out.name, f"{out.name}_replaced"
                model.graph.insert_before(node, identity)
                identity.outputs[0].shape, identity.outputs[0].type = out.shape, out.type
                out.replace_all_uses_with(identity.outputs[0], replace_graph_outputs=True)
                identity.outputs[0].name = name
            else:
                out.replace_all_uses_with(node.inputs[0])
            model.graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _may_train(dropout: ir.Node) -> bool:
    """Whether the training mode is on, or not known to be off."""
    mode = dropout.inputs[2] if len(dropout.inputs) > 2 else None
    if mode is None:
        return False
    found = constant(mode)
    return found is None or bool(found.any())


class DropIdentities(ir.passes.InPlacePass):
    """Remove Identity, also inside subgraphs, where inputs and outputs of every graph stay as they are.

    * Where its output is no graph output, readers get its input.
    * Where it is one, the input takes its name, if a node of the same graph writes it and it is no output
      itself. Of a graph's input, an initializer and a value from outside a subgraph the Identity stays: none
      of them can be an output under another name.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """One walk, graphs inside nodes included."""
        dropped = [drop_identity(node) for node in list(model.graph.all_nodes())]
        return ir.passes.PassResult(model, any(dropped))


def drop_identity(node: ir.Node) -> bool:
    """Remove a node if it is an Identity that can go, as :class:`DropIdentities` says."""
    source, graph = node.inputs[0] if node.inputs else None, node.graph
    if node.op_type != "Identity" or node.domain or source is None or not isinstance(graph, ir.Graph):
        return False
    out = node.outputs[0]
    ends = out.is_graph_output()
    if ends and (source.producer() is None or source.graph is not graph or source.is_graph_output()):
        return False
    source.type = source.type or out.type
    source.shape = source.shape or out.shape
    ir.convenience.replace_all_uses_with(out, source, replace_graph_outputs=True)
    if ends:
        name, out.name = out.name, None
        source.name = name
    graph.remove(node, safe=True)
    return True


class DropUnused(ir.passes.InPlacePass):
    """Remove nodes that nobody reads, and what only they read.

    * What a node captures for the graphs inside it is read no more once the node is gone; onnx-ir's own pass
      keeps such values.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Walk back once; graphs inside nodes are left to onnx-ir's pass."""
        modified = False
        for node in reversed(model.graph):
            if any(value.uses() or value.is_graph_output() for value in node.outputs):
                continue
            for graph in subgraphs(node):
                for inner in graph.all_nodes():
                    for position in range(len(inner.inputs)):
                        inner.replace_input_with(position, None)
            model.graph.remove(node, safe=True)
            modified = True
        rest = common_passes.RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified or rest.modified)


class NameNodes(ir.passes.InPlacePass):
    """Give every node a name of its own.

    * A node without a name is called after its type and first output, so the name is the same at each load.
      Inside subgraphs, where no layer is looked up, it stays without.
    * Of several nodes with one name the later ones get their first output appended, and a number if need be.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rename in place, in graph order, subgraphs last."""
        seen: set[str] = set()
        modified = False
        for node in _outside_in(model.graph):
            if not node.name and node.graph is not model.graph:
                continue
            output = (node.outputs[0].name if node.outputs else None) or ""
            name = free_name(node.name or f"{node.op_type}_{output}", output, seen)
            if name != node.name:
                node.name = name
                modified = True
            seen.add(name)
        return ir.passes.PassResult(model, modified)


def _outside_in(graph: ir.Graph) -> Iterator[ir.Node]:
    yield from graph
    for node in graph:
        for inner in subgraphs(node):
            yield from _outside_in(inner)
