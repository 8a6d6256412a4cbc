"""ComfyUI's side: LoRAs patched into its UNet, and leaves whose weights it moves and casts itself."""

import json
import logging
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import comfy.lora
import comfy.lora_convert
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from comfy.weight_adapter.lora import LoRAAdapter
from torch import Tensor, nn

from ... import ops
from ...errors import HyperLoRAError
from ...lora.value import Factors, LoRA
from ...network.bases import Bases

_shapes: weakref.WeakKeyDictionary[nn.Module, dict[str, tuple[int, ...] | None]] = weakref.WeakKeyDictionary()

BASE_MODEL_NAMES = {
    "SD15": "SD 1.5",
    "SD20": "SD 2.x",
    "SDXLRefiner": "the SDXL refiner",
    "SSD1B": "SSD-1B",
    "Segmind_Vega": "Segmind Vega",
}

log = logging.getLogger(__name__)


def _on_cpu(module: Any, input: Tensor) -> bool:
    """Whether nothing has to be moved or patched, and the plain leaf's way of casting is the fastest."""
    places = {module.weight.device.type, input.device.type}
    return places == {"cpu"} and not module.weight_function and not module.bias_function


class Operations(comfy.ops.manual_cast):
    """Leaves for ``HyperLoRA`` and ``ClipVision``: ComfyUI loads, offloads and casts their weights."""

    class Linear(comfy.ops.manual_cast.Linear):
        """See ``hyperlora_core.ops.Linear``."""

        def forward(self, input: Tensor) -> Tensor:
            return ops.Linear.forward(self, input) if _on_cpu(self, input) else super().forward(input)

    class Learned(nn.Module, comfy.ops.CastWeightBiasOp):
        """See ``hyperlora_core.ops.Learned``."""

        comfy_cast_weights = True
        bias = None

        def __init__(self, *shape: int, device: torch.device | str | None = None) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(shape, device=device), requires_grad=False)

        def forward(self, like: Tensor) -> Tensor:
            weight, bias, stream = comfy.ops.cast_bias_weight(self, like, offloadable=True)
            numbers = weight.clone()  # what was lent may lie in memory that the next leaf is cast to
            comfy.ops.uncast_bias_weight(self, weight, bias, stream)
            return numbers

    class Basis(nn.Module, comfy.ops.CastWeightBiasOp):
        """See ``hyperlora_core.ops.Basis``."""

        comfy_cast_weights = True
        bias = None

        def __init__(self, size: int, rows: int, columns: int, device: torch.device | str | None = None) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(size, rows, columns, device=device), requires_grad=False)

        def forward(self, coefficients: Tensor) -> Tensor:
            if _on_cpu(self, coefficients):
                return ops.Basis.forward(self, coefficients)
            weight, bias, stream = comfy.ops.cast_bias_weight(self, coefficients, offloadable=True)
            mixed = ops.mix_basis(coefficients, weight)
            comfy.ops.uncast_bias_weight(self, weight, bias, stream)
            return mixed


class Owner(Protocol):
    """A model that says which of its parts is about to compute."""

    before_use: Callable[[nn.Module], None]


def hand_over(owner: Owner, parts: Iterable[nn.Module]) -> dict[nn.Module, comfy.model_patcher.ModelPatcher]:
    """Make the weights of a model ComfyUI's to count, move and offload, each part by itself.

    ComfyUI is asked for a part that is about to compute. Bases are the exception: where the device has no room for them
    beside the models that are there, they stay where they are, and each leaf goes there when it is mixed.

    Args:
        owner: a model that calls ``before_use`` with its parts.
        parts: those parts.

    Returns:
        What ComfyUI moves each part by.
    """
    patchers = {
        part: comfy.model_patcher.CoreModelPatcher(
            part,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        for part in parts
    }

    def load(part: nn.Module) -> None:
        patcher = patchers[part]
        if isinstance(part, Bases) and not _has_room(patcher):
            log.info("Little memory is free on %s: HyperLoRA's bases go there piece by piece", patcher.load_device)
        else:
            comfy.model_management.load_models_gpu([patcher])

    owner.before_use = load
    return patchers


def _has_room(patcher: comfy.model_patcher.ModelPatcher) -> bool:
    """Whether a model can go to its device without another one leaving it; ComfyUI pages dynamic ones itself."""
    device = patcher.load_device
    if patcher.is_dynamic() or comfy.model_management.is_device_cpu(device):
        return True
    free = comfy.model_management.get_free_memory(device) - comfy.model_management.minimum_inference_memory()
    return free >= patcher.model_size() - patcher.loaded_size()


def apply_lora(
    model: comfy.model_patcher.ModelPatcher, lora: Mapping[str, Tensor], strength: float
) -> comfy.model_patcher.ModelPatcher:
    """Patch a LoRA into a model.

    Args:
        model: the MODEL; it is not changed.
        lora: a ``LoRA``, or any state dict that ComfyUI's own LoRA nodes take.
        strength: what delta W is multiplied by; any real number.

    Returns:
        A clone with the patches, or ``model`` itself where nothing would change. Clones of one model with the same
        ``LoRA`` object at the same strength have one ``patches_uuid``: ComfyUI has nothing to patch anew then.

    Raises:
        HyperLoRAError: the base model has not every target of the LoRA, by name and by shape.
    """
    if strength == 0 or not lora:
        return model
    clone = model.clone()
    if not isinstance(lora, LoRA):
        clone.add_patches(_foreign_patches(model, lora), strength)
        return clone
    # as add_patches does, which looks through the whole state dict for keys that are known to be there
    for key, adapter in adapters(model, lora).items():
        clone.patches.setdefault(key, []).append((strength, adapter, 1.0, None, None))
    clone.patches_uuid = uuid.uuid5(model.patches_uuid, f"{lora.uuid} {float(strength)!r}")
    return clone


def adapters(model: comfy.model_patcher.ModelPatcher, lora: LoRA) -> dict[str, LoRAAdapter]:
    """ComfyUI's key of a weight -> what it is patched with.

    Raises:
        HyperLoRAError: as ``fitting``.
    """
    return {
        key: LoRAAdapter(set(), (factors.up, factors.down, factors.alpha, None, None, None))
        for key, factors in fitting(model, lora).items()
    }


def fitting(model: comfy.model_patcher.ModelPatcher, lora: LoRA) -> dict[str, Factors]:
    """ComfyUI's key of a weight -> the LoRA's factors for it.

    Raises:
        HyperLoRAError: the base model has not every target of the LoRA, by name and by shape.
    """
    targets = _targets(json.dumps(model.model.model_config.unet_config, default=str, sort_keys=True))
    fit, wrong = {}, []
    for name, factors in lora.factors():
        found = _weight_shape(model.model, targets[name]) if name in targets else None
        needed = (factors.up.shape[0], factors.down.shape[1])
        if found == needed:
            fit[targets[name]] = factors
        else:
            wrong.append(f"{name} is {'absent' if found is None else f'{_size(found)} instead of {_size(needed)}'}")
    if wrong:
        total = len(fit) + len(wrong)
        raise HyperLoRAError(
            f"this LoRA does not fit the base model: {len(fit)} of its {total} targets fit "
            f"{base_model_name(model)} ({wrong[0]}). Use the kind of base model it was made for: "
            f"{_made_for(lora)}"
        )
    return fit


def _made_for(lora: LoRA) -> str:
    """The base model that a LoRA is for, as it says itself."""
    said = (lora.metadata.get(key) for key in ("hyperlora.base_model", "ss_base_model_version"))
    return next((name for name in said if name), "SDXL")


@lru_cache(maxsize=8)
def _targets(unet_config: str) -> dict[str, str]:
    """Canonical name of a module -> ComfyUI's key of its weight, for a UNet's configuration as JSON."""
    keys = comfy.utils.unet_to_diffusers(json.loads(unet_config)).items()
    return {name.removesuffix(".weight"): f"diffusion_model.{key}" for name, key in keys if name.endswith(".weight")}


def _foreign_patches(model: comfy.model_patcher.ModelPatcher, lora: Mapping[str, Tensor]) -> dict[str, Any]:
    key_map = comfy.lora.model_lora_keys_unet(model.model, {})
    patches = comfy.lora.load_lora(comfy.lora_convert.convert_lora(dict(lora)), key_map, log_missing=False)
    if not patches:
        raise HyperLoRAError(f"not one of this LoRA's {len(lora)} tensors fits {base_model_name(model)}")
    return patches


def _weight_shape(model: nn.Module, key: str) -> tuple[int, ...] | None:
    shapes = _shapes.setdefault(model, {})
    if key not in shapes:
        try:
            shapes[key] = tuple(comfy.utils.get_attr(model, key).shape)
        except AttributeError:
            shapes[key] = None
    return shapes[key]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def base_model_name(model: comfy.model_patcher.ModelPatcher) -> str:
    """What a user calls the base model: ``SDXL``, ``SD 1.5``, ``Flux``, ..."""
    name = type(model.model.model_config).__name__
    return BASE_MODEL_NAMES.get(name, name)
