"""The wrappers that a model with layers has in ComfyUI's model patcher."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor, nn

from ....lora.value import Factors, in_one_copy
from ..patching import fitting
from .call_patches import CallPatches
from .calls import Conditioning, UNetCall
from .cross_attention import LINEARS
from .gates import StackedFactors, stack_factors
from .layers import KEY, Layer
from .linears import ForwardPatch
from .masks import TokenGrid, TokenMasks, mask_per_picture
from .pictures import LatentPart, SampledBatch, batch_numbers, remember
from .tiles import TileDetector

MAX_MASKS = 32  # kept on a device while sampling; each context window of a long batch needs its own


def add_layers(model: ModelPatcher, layers: Sequence[Layer]) -> ModelPatcher:
    """Apply LoRAs while the model runs, in addition to those that it has.

    Args:
        model: the MODEL; it is not changed.
        layers: what to add; those without effect are left out.

    Returns:
        A clone, or ``model`` itself where nothing would change. ComfyUI has no weight to patch or to restore for it.

    Raises:
        HyperLoRAError: a LoRA does not fit the base model.
    """
    layers = [layer for layer in layers if layer.lora and layer.strength != 0]
    if not layers:
        return model
    all_layers = (*layers_of(model), *layers)
    runtime = Runtime(all_layers, [fitting(model, layer.lora) for layer in all_layers])
    wrappers = {
        WrappersMP.OUTER_SAMPLE: runtime.outer_sample,
        WrappersMP.CALC_COND_BATCH: runtime.calc_cond_batch,
        WrappersMP.APPLY_MODEL: runtime.apply_model,
    }
    clone = model.clone()
    for kind, wrapper in wrappers.items():
        clone.remove_wrappers_with_key(kind, KEY)
        clone.add_wrapper_with_key(kind, KEY, wrapper)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    clone.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, runtime.clear)
    return clone


def layers_of(model: ModelPatcher) -> tuple[Layer, ...]:
    """The layers that act while a model runs."""
    wrappers = model.get_wrappers(WrappersMP.APPLY_MODEL, KEY)
    return tuple(layer for wrapper in wrappers for layer in wrapper.__self__.layers)


class Runtime:
    """ComfyUI's three wrappers, from a sampling to a call of the UNet, and what they keep while sampling.

    ComfyUI may call ``apply_model`` from several threads at once, one for each device: whatever is kept here is
    complete before it is assigned.

    Attributes:
        layers: of the model. They stay; everything else is dropped when sampling ends.
        fits: of each layer, ComfyUI's key of a weight -> the LoRA's factors for it.
        masked: numbers of the layers that have a mask.
    """

    def __init__(self, layers: Sequence[Layer], fits: Sequence[Mapping[str, Factors]]) -> None:
        self.layers = tuple(layers)
        self.fits = tuple(fits)
        self.masked = frozenset(number for number, layer in enumerate(layers) if layer.mask is not None)
        self._tile_detector = TileDetector([layer.mask for layer in layers if layer.mask is not None])
        self.clear()

    def clear(self, *_: Any) -> None:
        """Drop all tensors on devices, and all that is known of a sampling."""
        self._factors: dict[tuple[torch.device, torch.dtype], dict[str, StackedFactors]] = {}
        self._masks: dict[Any, TokenMasks] = {}
        self._percents: dict[float, float] = {}
        self._conditionings: dict[Any, Conditioning] = {}
        self._retained: Sequence[int] = ()
        self._batch: SampledBatch | None = None

    def outer_sample(self, executor: Callable, noise: Tensor, latents: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Wrap one sampling: find out which pictures of which batch it denoises.

        Raises:
            HyperLoRAError: layers act on certain pictures of a batch, and which these are cannot be known.
        """
        by_picture = any(layer.by_picture for layer in self.layers)
        seed = kwargs["seed"] if "seed" in kwargs else args[5] if len(args) > 5 else None
        numbers = batch_numbers(noise, latents, seed) if by_picture else tuple(range(len(noise)))
        self._batch = batch = SampledBatch(numbers, *noise.shape[-2:])
        if self.masked:
            self._tile_detector.check(latents, batch)
        sampled = executor(noise, latents, *args, **kwargs)
        if by_picture:
            remember(sampled, batch)
        return sampled

    def calc_cond_batch(
        self, executor: Callable, model: Any, conds: list, x: Tensor, t: Tensor, options: Mapping[str, Any]
    ) -> Any:
        """Wrap the evaluation of all conditionings at one step: keep each one's marks and area by its uuid."""
        self._retained = getattr(options.get("context_handler"), "latent_retain_index_list", ())
        for cond in (cond for cond_list in conds for cond in cond_list or ()):
            area = tuple(cond["area"]) if "area" in cond else None
            self._conditionings[cond["uuid"]] = Conditioning(cond.get(KEY, frozenset()), area)
        return executor(model, conds, x, t, options)

    def apply_model(self, executor: Any, x: Tensor, t: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Wrap one call of the model on ``(rows, channels, height, width)``: add the LoRAs meanwhile.

        Raises:
            HyperLoRAError: the layers' slots or masks do not fit the batch, or the part that is denoised cannot be
                known.
        """
        options = kwargs["transformer_options"] if "transformer_options" in kwargs else args[3]
        model = executor.class_obj
        uuids = options.get("uuids") or [None] * len(options.get("cond_or_uncond", (0,)))
        conditionings = [self._conditionings.get(uuid, Conditioning()) for uuid in uuids]
        batch = self._batch or SampledBatch(tuple(range(len(x) // len(conditionings))), *x.shape[-2:])
        call = UNetCall(x, conditionings, options, batch)
        parts = call.parts(self._retained)
        rows = self.row_strengths(model, call, parts)
        if rows is not None and not rows.any():
            return executor(x, t, *args, **kwargs)
        factors = self.factors(model, x.device)
        grid = TokenGrid(self.token_masks(call, parts), options) if self.masked else None
        patches = CallPatches(self.masked, rows, grid)
        installed: list[tuple[nn.Module, ForwardPatch]] = []
        try:
            for module, patch in patches.prepare(model, factors):
                patch.install(module)
                installed.append((module, patch))
            return executor(x, t, *args, **kwargs)
        finally:
            for module, patch in reversed(installed):
                patch.remove(module)

    def factors(self, model: Any, device: torch.device) -> dict[str, StackedFactors]:
        """Path of a projection in the model -> all layers' factors, on a device, in the model's inference dtype."""
        dtype = model.get_dtype_inference()
        if (device, dtype) not in self._factors:
            parts: dict[str, list[tuple[int, Tensor, Tensor]]] = {}
            for number, (layer, fit) in enumerate(zip(self.layers, self.fits, strict=True)):
                matrices = [matrix for factors in fit.values() for matrix in (factors.down, factors.up)]
                pairs = iter(in_one_copy(matrices, device))
                for (key, factors), down, up in zip(fit.items(), pairs, pairs, strict=True):
                    scaled = up.float() * (layer.strength * factors.scale)
                    parts.setdefault(key.removesuffix(".weight"), []).append((number, down, scaled))
            if self.masked:  # a cross-attention under masks needs all four of its patches: rank 0 where no LoRA is
                for attention in {name.rpartition(".to_")[0] for name in parts if ".attn2." in name}:
                    for name in (f"{attention}.{projection}" for projection in LINEARS):
                        linear = comfy.utils.get_attr(model, name)
                        down = torch.zeros(0, linear.in_features, device=device)
                        parts.setdefault(name, [(0, down, down.new_zeros(linear.out_features, 0))])
            self._factors[device, dtype] = {name: stack_factors(part, dtype) for name, part in parts.items()}
        return self._factors[device, dtype]

    def row_strengths(self, model: Any, call: UNetCall, parts: Sequence[LatentPart]) -> Tensor | None:
        """Each layer's strength in each batch row: ``(rows, layers)`` on the CPU, or None where all are 1.

        Raises:
            HyperLoRAError: slots do not fit the batch, or the pictures that rows belong to cannot be known.
        """
        if not any(layer.varies for layer in self.layers):
            return None
        columns = []
        for layer in self.layers:
            factor = 1.0 if layer.schedule is None else layer.schedule.at(self._percent(model, call.options["sigmas"]))
            if not layer.by_picture and layer.prompt is None:
                columns.append([factor] * len(call.x))
                continue
            matches = [True] * len(call.batch.numbers) if layer.slot is None else layer.slot.matches(call.batch)
            columns.append(
                [
                    factor if matches[picture] and (layer.prompt is None or layer.prompt in cond.marks) else 0.0
                    for cond, part in zip(call.conditionings, parts, strict=True)
                    for picture in call.pictures(part)
                ]
            )
        return torch.tensor(columns).T

    def _percent(self, model: Any, sigmas: Tensor) -> float:
        """The percent of sampling at a sigma. ComfyUI has the opposite conversion alone: it is found by bisection."""
        sigma = float(sigmas.flatten()[0])
        if sigma not in self._percents:
            low, high = 0.0, 1.0
            while high - low > 1e-7:
                middle = (low + high) / 2
                low, high = (low, middle) if model.model_sampling.percent_to_sigma(middle) <= sigma else (middle, high)
            self._percents[sigma] = high
        return self._percents[sigma]

    def token_masks(self, call: UNetCall, parts: Sequence[LatentPart]) -> TokenMasks:
        """The masks of all layers over the rows of a call; those without a mask have ones.

        Raises:
            HyperLoRAError: a mask does not fit the batch, or the part that is denoised cannot be known.
        """
        key = (call.x.device, tuple(parts))
        masks = self._masks.get(key)
        if masks is None:
            latent = torch.stack([mask_per_picture(layer.mask, call.batch) for layer in self.layers])
            cuts = [latent[:, call.pictures(part)][:, :, call.ys(part)][..., call.xs(part)] for part in parts]
            masks = TokenMasks(torch.cat(cuts, dim=1), call.x.device)
            if len(self._masks) >= MAX_MASKS:
                self._masks = {}
            self._masks[key] = masks
        return masks
