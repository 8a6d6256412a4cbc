"""What runs face models: torch, which reads their files itself; onnxruntime; or insightface, with onnxruntime.

onnxruntime is imported here alone, where it was chosen, or where a file has something in it that torch's way does not
read. It is not needed otherwise.
"""

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from ..errors import MissingPackageError
from .onnx_file import OnnxError
from .onnx_module import OnnxModule

ENGINES = ("auto", "torch", "onnxruntime", "insightface")
"""What a user chooses from; "auto" is torch, and onnxruntime for models that torch's way does not read."""

ONNXRUNTIME_BUILDS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-rocm")
"""Packages that write to one folder: of two, the last that was installed works, and removing one empties it."""

_GPU_PROVIDERS = {
    "CUDAExecutionProvider": "CUDA",
    "ROCMExecutionProvider": "ROCm",
    "CoreMLExecutionProvider": "CoreML",
    "DmlExecutionProvider": "DirectML",
}


class TorchRun:
    """Runs a module where torch computes.

    Args:
        module: the network.
        device: where it computes.

    Attributes:
        module: the network.
        where: the device, as users know it.
        before_use: called with the module that is about to compute, by which a host moves its weights.
    """

    def __init__(self, module: OnnxModule, device: torch.device) -> None:
        self.module, self._device, self.where = module, device, str(device)

        def to_device(module: nn.Module) -> None:
            module.to(device)

        self.before_use: Callable[[nn.Module], None] = to_device

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        self.before_use(self.module)
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            return [output.cpu() for output in self.module(pixels.to(self._device))]


class OnnxRuntimeRun:
    """Runs a model on onnxruntime.

    Args:
        path: its file.
        device: on the CPU it stays there; elsewhere it takes the first GPU provider that the installed build offers.

    Attributes:
        where: the device: "CPU", "CUDA", ...

    Raises:
        MissingPackageError: onnxruntime is missing, or only half there.
        OnnxError: it cannot load the file.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        runtime = need_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=providers(runtime, device))
        except Exception as error:  # of onnxruntime's own classes, which have no common one
            raise OnnxError(f"onnxruntime cannot load it ({type(error).__name__})") from error
        self._input = self._session.get_inputs()[0].name
        self.where = provider_name(self._session.get_providers()[0])

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        outputs = self._session.run(None, {self._input: pixels.contiguous().numpy()})
        return [torch.from_numpy(output) for output in outputs]


def providers(runtime: ModuleType, device: torch.device) -> list[str]:
    """onnxruntime's execution providers for a device, the best first."""
    offered = runtime.get_available_providers() if device.type != "cpu" else []
    return [*(name for name in _GPU_PROVIDERS if name in offered), "CPUExecutionProvider"]


def provider_name(execution_provider: str) -> str:
    """A provider's name as users know it: "CUDA", "CPU", ..."""
    return _GPU_PROVIDERS.get(execution_provider, "CPU")


def need_onnxruntime() -> ModuleType:
    """Import onnxruntime and check that it is complete.

    Raises:
        MissingPackageError: it is missing, or an empty folder was left of it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            f"onnxruntime was chosen to find faces, and cannot be imported ({error}): choose 'torch', or install it: "
            f"{onnxruntime_line()}"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise MissingPackageError(
            "onnxruntime is half installed: its folder is there and empty, as one of its builds leaves it that is "
            f"removed beside another (pip has {', '.join(installed_builds()) or 'none'}). Remove all and install one: "
            f"{onnxruntime_line()}"
        )
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


def onnxruntime_line() -> str:
    """The line that mends an onnxruntime, whatever is there: all builds removed, the one for this machine installed."""
    build = "onnxruntime-gpu" if torch.version.cuda else "onnxruntime"
    return f"pip uninstall -y {' '.join(ONNXRUNTIME_BUILDS)} && pip install {build}"


def installed_builds() -> list[str]:
    """The builds of onnxruntime that pip has installed, with their versions."""
    return sorted(
        f"{name} {distribution.version}"
        for distribution in metadata.distributions()
        if (name := str(distribution.metadata["Name"]).lower()) in ONNXRUNTIME_BUILDS
    )
