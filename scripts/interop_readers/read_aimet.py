"""AIMET's quantization simulation of ONNX networks: its loader of encodings, and its simulator."""

from __future__ import annotations

from importlib.metadata import version

import onnx
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
from aimet_onnx.quantsim import QuantizationSimModel, load_encodings_to_sim
from common import Case, Rows, row, serve


def simulation(case: Case) -> QuantizationSimModel:
    """A simulation of the network with BatchNormalization folded in.

    AIMET folds nothing into nodes without a name, and says so in its log alone; its simulator then applies
    scales of folded weights to weights that are not.
    """
    model = onnx.load(case.model)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    fold_all_batch_norms_to_weight(model)
    return QuantizationSimModel(model, param_type="int8", activation_type="int8")


def scales_of(sim: QuantizationSimModel) -> dict[str, float]:
    """Scales of the quantizers that are on."""
    found = {}
    for name, quantizer in sim.qc_quantize_op_dict.items():
        if not quantizer.enabled:
            continue
        encodings = quantizer.get_encodings()
        if encodings and len(encodings) == 1:
            found[name] = encodings[0].delta
    return found


def read(case: Case) -> Rows:
    """Each version of encodings, and AIMET's own calibration beside them."""
    rows, reader = [], f"aimet-onnx {version('aimet-onnx')}"
    own = simulation(case)
    own.compute_encodings([dict(sample) for sample in case.samples(case.calibration)])
    calibrated = case.sqnr(lambda sample: own.session.run(None, sample))
    for name in ("aimet-0.6", "aimet-1.0", "aimet-2.0"):
        sim = simulation(case)
        try:
            load_encodings_to_sim(sim, str(case.table(name)), strict=False)
        except Exception as error:  # noqa: BLE001  # whatever it raises is the result
            rows.append(row(name, reader, f"no: {type(error).__name__}: {str(error)[:80]}"))
            continue
        worst, compared = case.difference(scales_of(sim))
        rows.append(
            row(name, reader, "yes", difference=worst, tensors=compared,
                sqnr=case.sqnr(lambda sample, sim=sim: sim.session.run(None, sample)), own=calibrated)
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    serve(read)
