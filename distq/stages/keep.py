"""Keep the best network so far where it can be taken out while the run goes on."""

from __future__ import annotations

from distq.graph.names import Names
from distq.graph.state import quantizer_constants
from distq.graph.weight_files import content_key
from distq.run.best_so_far import keep_network, note_moved, note_undone
from distq.run.context import Run
from distq.stages.form import Form


def keep(run: Run, stage: str, form: Form) -> Form:
    """The form, kept as the best so far.

    Args:
        run: whose folder keeps it.
        stage: what was done to it last.
        form: with thresholds, weights and biases.
    """
    keep_network(
        run.rundir,
        run.journal,
        form.exported,
        form.table_bytes,
        equalized=form.equalized,
        stage=stage,
        float_layers=form.plan.float_nodes,
    )
    return form


class Moves:
    """Notes what a search moves, one tensor after another."""

    def __init__(self, run: Run, form: Form) -> None:
        self._run = run
        self._network = content_key(form.exported)
        self._names = Names.free_in(form.model)

    def note(self, form: Form, quantizer: str) -> None:
        """Note that a form has another threshold for a quantizer than the one before it."""
        constants = quantizer_constants(form.plan, form.state, self._names, quantizer)
        note_moved(self._run.journal, self._network, quantizer, form.table[quantizer], constants)

    def undo(self) -> None:
        """Note that the form before the search is kept."""
        note_undone(self._run.journal, self._network)
