"""From the network as given to its calibrated form: what ``calibrate`` exports and other verbs start from."""

from __future__ import annotations

from distq.run.context import Run
from distq.stages.channel_scales import with_channel_scales
from distq.stages.correct import corrected
from distq.stages.fastest import with_fastest
from distq.stages.forecast import tell_roughly
from distq.stages.form import Form
from distq.stages.method import best_calibration
from distq.stages.observe import with_distributions
from distq.stages.thresholds import AUTO, with_thresholds


def calibrated(run: Run) -> Form:
    """The network with thresholds by the method or from a table, and weights and biases made for them."""
    form = Form.given(run)
    form = with_channel_scales(run, with_distributions(run, form))
    tell_roughly(run, len(form.plan.quantizers))
    form = with_fastest(run, with_thresholds(run, form))
    if run.options.method == AUTO and run.options.table is None:
        return best_calibration(run, form)
    return corrected(run, form)
