"""SigmaStar's ``calibrator_custom`` on distq: the same classes, methods and errors.

    from distq import sigmastar as calibrator_custom

    class Net(calibrator_custom.SIM_Calibrator):
        def __init__(self):
            super().__init__()
            self.model = calibrator_custom.calibrator("model.onnx", "input_config.ini")

        def forward(self, x):
            self.model.set_input(0, x[0])
            self.model.invoke()
            return [self.model.get_output(0)]

    Net().convert(samples(), fix_model=["model_fixed.onnx"], num_process=10, quant_level="L5")

Models are ONNX files. docs/moving/sigmastar.md says what differs.
"""

from __future__ import annotations

from distq.sigmastar.convert import SIM_Calibrator, SIM_Simulator
from distq.sigmastar.quant_param import QuantParam, read_quant_param, save_quant_param
from distq.sigmastar.simulators import WrongUse, calibrator, fixed_simulator, float_simulator

__all__ = [
    "QuantParam",
    "SIM_Calibrator",
    "SIM_Simulator",
    "WrongUse",
    "calibrator",
    "fixed_simulator",
    "float_simulator",
    "read_quant_param",
    "save_quant_param",
]
