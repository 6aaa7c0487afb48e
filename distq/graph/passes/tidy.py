"""Small tidying passes: nodes that do nothing at inference, and names."""

from __future__ import annotations

import onnx_ir as ir

from distq.graph.values import constant


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
            training = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]) or (
                training is not None and training.any()
            ):
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


class NameNodes(ir.passes.InPlacePass):
    """Give every node a name of its own.

    * A node without a name is called after its type and first output, so the name is the same at each load.
    * Of several nodes with one name the later ones get their first output appended, and a number if need be.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rename in place, in graph order."""
        seen: set[str] = set()
        modified = False
        for node in model.graph:
            output = node.outputs[0].name if node.outputs else ""
            name = node.name or f"{node.op_type}_{output}"
            if name in seen:
                name = f"{name}_{output}"
            stem, counter = name, 1
            while name in seen:
                name, counter = f"{stem}_{counter}", counter + 1
            if name != node.name:
                node.name = name
                modified = True
            seen.add(name)
        return ir.passes.PassResult(model, modified)
