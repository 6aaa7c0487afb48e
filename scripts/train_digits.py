"""Train the demo's network and write ``distq/assets``: the ONNX model, its images and their list.

    pip install -e '.[train]' && python scripts/train_digits.py

The data are the 1797 digits of 8x8 pixels that scikit-learn brings along (UCI "Optical Recognition of
Handwritten Digits", CC BY 4.0). A permutation of fixed seed gives 1200 to training; the network never sees
the other 597, of which the first 128 become the demo's calibration images and the next 300 its held-out
ones. The number of epochs is fixed: no checkpoint is picked by accuracy. Every seed is fixed and one thread
is used, so one kind of CPU gives the same file again; another may differ in the last bits of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from digits_data import (
    CALIBRATION,
    HELD_OUT,
    SEED,
    SIZE,
    TRAINING,
    Images,
    Labels,
    digits,
    enlarge,
    jitter,
    normalized,
)
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

EPOCHS, BATCH = 30, 32
OPSET = 13
ASSETS = Path(__file__).parents[1] / "distq" / "assets"


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch normalization, activation (None: linear)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        modules = [convolution, nn.BatchNorm2d(outputs)]
        super().__init__(*modules, *([activation] if activation else []))


class Separable(nn.Sequential):
    """Depthwise convolution, then a pointwise one."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU6,
    ) -> None:
        super().__init__(
            ConvNorm(inputs, inputs, kernel, stride=stride, groups=inputs, activation=activation()),
            ConvNorm(inputs, outputs, 1, activation=activation()),
        )


class Digits(nn.Module):
    """1x32x32 in, 10 logits out: narrow and deep, because that is what makes INT8 hard.

    A stem and two separable blocks down to 8x8, an inverted residual, six separable blocks, and a fork of two
    kernel sizes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, 8, 3, stride=2, activation=nn.ReLU6())
        self.down = nn.Sequential(Separable(8, 12, 3), Separable(12, 16, 3, stride=2))
        self.residual = nn.Sequential(
            ConvNorm(16, 32, 1, activation=nn.ReLU6()),
            ConvNorm(32, 32, 3, groups=32, activation=nn.ReLU6()),
            ConvNorm(32, 16, 1),
        )
        self.deep = nn.Sequential(*[Separable(16, 16, 3) for _ in range(6)])
        self.fine = Separable(16, 12, 3, stride=2, activation=nn.ReLU)
        self.coarse = Separable(16, 12, 5, stride=2, activation=nn.ReLU)
        self.head = ConvNorm(24, 24, 1, activation=nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(24, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N,10) of images (N,1,32,32)."""
        x = self.down(self.stem(images))
        x = self.deep(x + self.residual(x))
        x = self.head(torch.cat([self.fine(x), self.coarse(x)], 1))
        return self.classifier(self.flatten(self.pool(x)))


def normalize(images: Images) -> torch.Tensor:
    """The arithmetic of preprocess.yaml: (N,32,32) uint8 to (N,1,32,32) float32 of mean 0 and deviation 1."""
    return torch.from_numpy(normalized(images))


def train(images: Images, labels: Labels) -> Digits:
    """Train on all images given, for a fixed number of epochs."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    network = Digits()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    loss_function = nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in np.array_split(random.permutation(len(images)), steps // EPOCHS):
            batch = normalize(np.stack([jitter(images[i], random) for i in chosen]))
            loss = loss_function(network(batch), torch.from_numpy(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {total / len(images):.4f}")
    return network.eval()


class OnnxWriter(fx.Interpreter):
    """Writes one ONNX node per PyTorch module or function; its values are names of ONNX tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(fx.GraphModule(network, FineTracer().trace(network)))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def call_module(self, target: str, args: tuple[str, ...], kwargs: dict[str, object]) -> str:  # noqa: ARG002  # fx's signature
        """Write a layer."""
        module = self.fetch_attr(target)
        attributes: dict[str, object] = {}
        match module:
            case nn.Conv2d():
                operator, parts = "Conv", ["weight"]
                attributes = {
                    "kernel_shape": module.kernel_size,
                    "strides": module.stride,
                    "pads": module.padding * 2,
                    "group": module.groups,
                }
            case nn.BatchNorm2d():
                operator, parts = "BatchNormalization", ["weight", "bias", "running_mean", "running_var"]
                attributes = {"epsilon": module.eps}
            case nn.ReLU6():
                operator, parts = "Clip", ["min_val", "max_val"]
            case nn.ReLU():
                operator, parts = "Relu", []
            case nn.AdaptiveAvgPool2d():
                operator, parts = "GlobalAveragePool", []
            case nn.Flatten():
                operator, parts = "Flatten", []
            case nn.Linear():
                operator, parts, attributes = "Gemm", ["weight", "bias"], {"transB": 1}
            case _:
                raise TypeError(f"no ONNX operator for {type(module).__name__} at {target}")
        weights = [self._weight(f"{target}.{part}", getattr(module, part)) for part in parts]
        return self._node(operator, target, [*args, *weights], attributes)

    def call_function(self, target: object, args: tuple, kwargs: dict[str, object]) -> str:  # noqa: ARG002  # fx's signature
        """Write the addition or the concatenation."""
        if target is torch.cat:
            return self._node("Concat", "fork", args[0], {"axis": args[1]})
        return self._node("Add", "residual", args, {})

    def _node(self, operator: str, place: str, inputs: Sequence[str], attributes: dict[str, object]) -> str:
        name = f"/{place.replace('.', '/')}/{operator}"
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))
        return output

    def _weight(self, name: str, value: torch.Tensor | float) -> str:
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, np.float32)
        self.weights.append(numpy_helper.from_array(array, name))
        return name


class FineTracer(fx.Tracer):
    """Looks into ConvNorm and Separable too, down to PyTorch's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module becomes one node."""
        return not isinstance(m, nn.Sequential) and super().is_leaf_module(m, module_qualified_name)


def export(network: Digits) -> onnx.ModelProto:
    """The trained network as ONNX, batch normalization left in and the batch symbolic, as users export it."""
    writer = OnnxWriter(network)
    writer.run("image")
    writer.nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        writer.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        writer.weights,
    )
    model = helper.make_model(
        graph, producer_name="distq scripts/train_digits.py", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    model.ir_version = 8  # what goes with opset 13 to 17; old runtimes refuse a newer one
    onnx.checker.check_model(model, full_check=True)
    return model


def write_assets(model: onnx.ModelProto, images: Images, labels: Labels) -> None:
    """The model, and calibration and held-out images in the order of their list."""
    (ASSETS / "digits").mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(ASSETS / "digits.onnx"))
    lines = []
    for index, (image, label) in enumerate(zip(images, labels, strict=True), 1):
        name = f"digits/{index:04d}.png"
        cv2.imwrite(str(ASSETS / name), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        lines.append(f"{name} {label}\n")
    (ASSETS / "labels.txt").write_text("".join(lines))


def report(model: onnx.ModelProto, name: str, images: Images, labels: Labels) -> None:
    """Print the top-1 of the exported model in ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = normalize(np.stack([enlarge(image) for image in images])).numpy()
    right = session.run(None, {"image": inputs})[0].argmax(1) == labels
    print(f"top-1 on {name}: {right.mean():.2%} ({right.sum()} of {len(right)})")


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003  # PyTorch's signature
    images, labels = digits()
    network = train(np.stack([enlarge(image) for image in images[:TRAINING]]), labels[:TRAINING])
    model = export(network)
    unseen, unseen_labels = images[TRAINING:], labels[TRAINING:]
    demo = CALIBRATION + HELD_OUT
    report(model, "training digits", images[:TRAINING], labels[:TRAINING])
    report(model, "digits it never saw", unseen, unseen_labels)
    report(model, "the demo's held-out digits", unseen[CALIBRATION:demo], unseen_labels[CALIBRATION:demo])
    write_assets(model, unseen[:demo], unseen_labels[:demo])
    written = sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file())
    print(f"{ASSETS}: digits.onnx {(ASSETS / 'digits.onnx').stat().st_size:,} bytes, all files {written:,}")


if __name__ == "__main__":
    main()
