"""LoRAs that act while ComfyUI's UNet runs: no weight is touched, and each may act on a part of what is drawn.

A low-rank product is added to what a projection gives: y + gate * (x @ down.T) @ up.T. All LoRAs of a model are one
product of their joined ranks; the gate says on which rows of the batch and which tokens of the picture each rank
acts. The prompt's keys and values have no picture tokens: where a mask confines a LoRA, attention to the prompt runs
once more with that LoRA's own, and what it gives is blended in by the mask.

A projection's ``forward`` is replaced while the model is called, and at no other time. So nothing remains after an
exception; what is replaced is what is about to run, whoever reloaded or compiled the model; and torch.compile follows
the exchange, where it would go on with the first hook it ever saw.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import HyperLoRAError
from ..lora import Factors, LoRA, in_one_copy
from ..schedule import Schedule
from .comfyui import fitting
from .projections import Crossed, Crossing, Gates, Joined, Keys, OfPrompt, Out, Projection, Query, Values

KEY = "hyper_lora"
LEVELS = 4  # how often a UNet of this family halves its picture, and one to spare
CROSSED: dict[str, type[Crossed]] = {"to_q": Query, "to_k": Keys, "to_v": Values, "to_out.0": Out}

_projections: weakref.WeakKeyDictionary[nn.Module, dict[type[Projection], Projection]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Place:
    """One place of a list that is spread over the pictures of a batch.

    Attributes:
        index: which.
        count: length of the list.
        repeat: whether it starts anew where the batch is longer; else that is an error.
    """

    index: int
    count: int
    repeat: bool

    def of(self, batch: int) -> list[bool]:
        """Whether it is each picture's place.

        Raises:
            HyperLoRAError: the list does not fit the batch.
        """
        if self.count > batch or (self.count < batch and not self.repeat):
            help = "make the batch as large" if self.count > batch else "add identities, or let them repeat"
            raise HyperLoRAError(f"there are {self.count} identities for a batch of {batch} pictures: {help}")
        return [item % self.count == self.index for item in range(batch)]


@dataclass(frozen=True)
class Prompt:
    """What is known of a conditioning.

    Attributes:
        marks: of the layers that act on it.
        top: of its area in the picture, in the latent's pixels.
        left: likewise.
    """

    marks: frozenset[str] = frozenset()
    top: int = 0
    left: int = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """A LoRA, and when and where it acts.

    Attributes:
        lora: its targets fit the model.
        strength: what delta W is multiplied by.
        schedule: a further factor, by how far sampling is.
        place: the pictures of a batch that it acts on; None: all.
        prompt: the mark of the conditionings that it acts on; None: all.
        mask: ``(1 or batch, height, width)``, 0 to 1: the part of the picture it acts on; None: all.
    """

    lora: LoRA
    strength: float = 1.0
    schedule: Schedule | None = None
    place: Place | None = None
    prompt: str | None = None
    mask: Tensor | None = None

    @property
    def varies(self) -> bool:
        """Whether there are rows or times at which it acts less than at others."""
        return any(limit is not None for limit in (self.schedule, self.place, self.prompt))


def add_layers(model: ModelPatcher, layers: Sequence[Layer]) -> ModelPatcher:
    """Apply LoRAs while the model runs, beside those that it has.

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
    everything = (*layers_of(model), *layers)
    runtime = Runtime(everything, [fitting(model, layer.lora) for layer in everything])
    clone = model.clone()
    for kind in (WrappersMP.APPLY_MODEL, WrappersMP.CALC_COND_BATCH):
        clone.remove_wrappers_with_key(kind, KEY)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, runtime.run)
    clone.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, runtime.look_at_prompts)
    clone.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, runtime.forget)
    return clone


def layers_of(model: ModelPatcher) -> tuple[Layer, ...]:
    """The LoRAs that act while a model runs."""
    return tuple(layer for run in model.get_wrappers(WrappersMP.APPLY_MODEL, KEY) for layer in run.__self__.layers)


class Runtime:
    """Applies layers in the calls of a model's UNet.

    Attributes:
        layers: they stay as they are; what else is here is forgotten when sampling ends.
        fits: of each layer, ComfyUI's key of a weight -> the LoRA's factors for it.
        confined: numbers of the layers that have a mask.
    """

    def __init__(self, layers: Sequence[Layer], fits: Sequence[Mapping[str, Factors]]) -> None:
        self.layers = tuple(layers)
        self.fits = tuple(fits)
        self.confined = frozenset(number for number, layer in enumerate(layers) if layer.mask is not None)
        self.forget()

    def forget(self, *_: Any) -> None:
        """Let go of what was put on a device."""
        self._joined: dict[tuple[torch.device, torch.dtype], dict[str, Joined]] = {}
        self._masks: dict[tuple[Any, ...], dict[int, Tensor]] = {}
        self._percents: dict[float, float] = {}
        self._prompts: dict[Any, Prompt] = {}
        self._whole: tuple[int, ...] = ()

    def look_at_prompts(self, executor: Callable, model: Any, conds: list, x: Tensor, *rest: Any) -> Any:
        """Around ComfyUI's evaluation of all conditionings at one step: take note of whose mark and area each has."""
        self._whole = tuple(x.shape[-2:])
        for cond in (cond for each in conds for cond in each or ()):
            area = cond.get("area") or (0, 0, 0, 0)  # height, width, top, left
            self._prompts[cond["uuid"]] = Prompt(cond.get(KEY, frozenset()), *area[-2:])
        return executor(model, conds, x, *rest)

    def run(self, executor: Any, x: Tensor, t: Tensor, *args: Any, **named: Any) -> Any:
        """Around one call of the model on ``(rows, channels, height, width)``.

        Raises:
            HyperLoRAError: the layers' places or masks do not fit the batch.
        """
        options = named["transformer_options"] if "transformer_options" in named else args[3]
        model = executor.class_obj
        uuids = options.get("uuids") or [None] * len(options.get("cond_or_uncond", (0,)))
        prompts = [self._prompts.get(uuid, Prompt()) for uuid in uuids]
        rows = self.rows(model, x, prompts, options)
        if rows is not None and not rows.any():
            return executor(x, t, *args, **named)
        joined = self.joined(model, x.device)
        moment = Moment(self, rows, self.masks(x, prompts))
        started: list[tuple[nn.Module, Projection]] = []
        try:
            for name, factors in joined.items():
                linear = comfy.utils.get_attr(model, name)
                started.append((linear, moment.start(model, name, linear, factors)))
            return executor(x, t, *args, **named)
        finally:
            for linear, projection in reversed(started):
                projection.stop(linear)

    def joined(self, model: Any, device: torch.device) -> dict[str, Joined]:
        """Path of a projection in the model -> all layers' factors for it, on a device, in what it computes in."""
        dtype = model.get_dtype_inference()
        if (device, dtype) not in self._joined:
            parts: dict[str, list[tuple[int, Tensor, Tensor]]] = {}
            for number, (layer, fit) in enumerate(zip(self.layers, self.fits, strict=True)):
                matrices = [matrix for factors in fit.values() for matrix in (factors.down, factors.up)]
                pairs = iter(in_one_copy(matrices, device))
                for (key, factors), down, up in zip(fit.items(), pairs, pairs, strict=True):
                    scaled = up.float() * (layer.strength * factors.scale)
                    parts.setdefault(key.removesuffix(".weight"), []).append((number, down, scaled))
            if self.confined:
                for attention in {name.rpartition(".to_")[0] for name in parts if ".attn2." in name}:
                    for name in (f"{attention}.{projection}" for projection in CROSSED):
                        linear = comfy.utils.get_attr(model, name)
                        down = torch.zeros(0, linear.in_features, device=device)
                        parts.setdefault(name, [(0, down, down.new_zeros(linear.out_features, 0))])
            self._joined[device, dtype] = {name: _join(part, dtype) for name, part in parts.items()}
        return self._joined[device, dtype]

    def rows(self, model: Any, x: Tensor, prompts: Sequence[Prompt], options: Mapping[str, Any]) -> Tensor | None:
        """How much each layer acts on each row: ``(rows, layers)`` on the CPU, or None if every one acts fully."""
        if not any(layer.varies for layer in self.layers):
            return None
        batch = len(x) // len(prompts)
        columns = []
        for layer in self.layers:
            now = 1.0 if layer.schedule is None else layer.schedule.at(self._percent(model, options["sigmas"]))
            places = [True] * batch if layer.place is None else layer.place.of(batch)
            columns.append(
                [
                    now if place and (layer.prompt is None or layer.prompt in prompt.marks) else 0.0
                    for prompt in prompts
                    for place in places
                ]
            )
        return torch.tensor(columns).T

    def _percent(self, model: Any, sigmas: Tensor) -> float:
        """How far sampling is, by the model's own noise schedule."""
        sigma = float(sigmas.flatten()[0])
        if sigma not in self._percents:
            low, high = 0.0, 1.0
            while high - low > 1e-7:
                middle = (low + high) / 2
                low, high = (low, middle) if model.model_sampling.percent_to_sigma(middle) <= sigma else (middle, high)
            self._percents[sigma] = high
        return self._percents[sigma]

    def masks(self, x: Tensor, prompts: Sequence[Prompt]) -> dict[int, Tensor]:
        """Number of tokens -> ``(rows, tokens, layers)``, those without a mask at 1; empty if none has one."""
        if not self.confined:
            return {}
        key = (*x.shape, *((prompt.top, prompt.left) for prompt in prompts))
        if key not in self._masks:
            batch, height, width = len(x) // len(prompts), *x.shape[-2:]
            whole = torch.stack([sized(layer.mask, batch, *(self._whole or (height, width))) for layer in self.layers])
            cuts = [whole[..., p.top : p.top + height, p.left : p.left + width] for p in prompts]
            rows = torch.cat(cuts, dim=1)  # (layers, rows, height, width)
            self._masks[key] = masks = {}
            for _ in range(LEVELS):
                tokens = F.interpolate(rows, size=(height, width), mode="bilinear", antialias=True)
                masks[height * width] = tokens.flatten(2).permute(1, 2, 0).contiguous().to(x.device)
                height, width = (height + 1) // 2, (width + 1) // 2
        return self._masks[key]


class Moment:
    """One call of the UNet.

    Attributes:
        runtime: whose.
        rows: ``(rows, layers)`` or None.
        masks: number of tokens -> ``(rows, tokens, layers)``.
    """

    def __init__(self, runtime: Runtime, rows: Tensor | None, masks: Mapping[int, Tensor]) -> None:
        self.runtime = runtime
        self.rows = rows
        self.masks = masks
        self._gates: dict[Any, Gates] = {}
        self._crossings: dict[str, Crossing] = {}

    def start(self, model: nn.Module, name: str, linear: nn.Module, joined: Joined) -> Projection:
        """Let a projection have its LoRAs beside it."""
        attention, _, last = name.rpartition(".attn2.")
        projection = _projection(linear, CROSSED[last] if self.masks and attention else Projection)
        if isinstance(projection, Crossed):
            projection.crossing = self.crossing(model, f"{attention}.attn2")
        projection.start(linear, joined, self.gates(joined, isinstance(projection, OfPrompt)))
        return projection

    def crossing(self, model: nn.Module, attention: str) -> Crossing:
        """What the four projections of an attention share."""
        if attention not in self._crossings:
            module = comfy.utils.get_attr(model, attention)
            self._crossings[attention] = Crossing(module, self.runtime.confined, self.masks)
        return self._crossings[attention]

    def gates(self, joined: Joined, reads_prompt: bool) -> Gates:
        """On what each rank acts."""
        key = (joined.layers, reads_prompt)
        if key not in self._gates:
            dtype, device = joined.up.dtype, joined.up.device
            layers = torch.tensor(
                [n for n, rank in joined.layers for _ in range(rank)], dtype=torch.long, device=device
            )
            rows = None if self.rows is None else self.rows.to(device, dtype)[:, None, layers]
            masks = {} if reads_prompt else {count: mask[..., layers].to(dtype) for count, mask in self.masks.items()}
            tokens = masks if rows is None else {count: mask * rows for count, mask in masks.items()}
            self._gates[key] = Gates(rows, tokens)
        return self._gates[key]


def _projection(linear: nn.Module, kind: type[Projection]) -> Projection:
    """The one object of a kind that stands for a projection."""
    return _projections.setdefault(linear, {}).setdefault(kind, kind())


def _join(parts: Sequence[tuple[int, Tensor, Tensor]], dtype: torch.dtype) -> Joined:
    downs, ups = [down for _, down, _ in parts], [up for _, _, up in parts]
    return Joined(
        torch.cat(downs).to(dtype), torch.cat(ups, dim=1).to(dtype), tuple((n, len(down)) for n, down, _ in parts)
    )


def sized(mask: Tensor | None, batch: int, height: int, width: int) -> Tensor:
    """A mask at a size, ``(batch, height, width)``; ones where there is none.

    Raises:
        HyperLoRAError: it has neither one picture nor as many as the batch.
    """
    if mask is None:
        return torch.ones(batch, height, width)
    if len(mask) not in (1, batch):
        raise HyperLoRAError(
            f"a mask has {len(mask)} pictures, and the batch {batch}: one for all is needed, or one each"
        )
    resized = F.interpolate(mask[:, None].float().cpu(), size=(height, width), mode="bilinear", antialias=True)
    return resized[:, 0].expand(batch, -1, -1).clamp(0, 1)


def per_item(
    loras: Sequence[LoRA], strength: float = 1.0, repeat: bool = True, schedule: Schedule | None = None
) -> list[Layer]:
    """Layers that give each picture of a batch its own LoRA.

    Args:
        loras: in the order of the batch; an empty one leaves its picture as it is.
        strength: of each.
        repeat: start anew where the batch is longer; else that is an error when the model runs.
        schedule: a further factor, by how far sampling is.
    """
    return [Layer(lora, strength, schedule, Place(i, len(loras), repeat)) for i, lora in enumerate(loras)]


def in_regions(
    loras: Sequence[LoRA], masks: Sequence[Tensor], strength: float = 1.0, schedule: Schedule | None = None
) -> list[Layer]:
    """Layers that keep each LoRA within its mask; where masks overlap by more than 1, they share.

    Args:
        loras: one a mask.
        masks: ``(1 or batch, height, width)``, 0 to 1, of any sizes.
        strength: of each.
        schedule: a further factor, by how far sampling is.

    Raises:
        HyperLoRAError: there are not as many masks as LoRAs, or a mask is empty or no mask.
    """
    if len(loras) != len(masks):
        raise HyperLoRAError(f"there are {len(masks)} masks for {len(loras)} people: each person needs one")
    for number, mask in enumerate(masks, start=1):
        check_mask(mask, f"mask {number} of {len(masks)}")
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (1, 2))
    batch = max(len(mask) for mask in masks)
    alike = [sized(mask, batch, height, width) for mask in masks]
    most = torch.stack(alike).sum(dim=0).clamp(min=1)
    return [Layer(lora, strength, schedule, mask=mask / most) for lora, mask in zip(loras, alike, strict=True)]


def check_mask(mask: Tensor, name: str) -> None:
    """Refuse what is no ``(batch, height, width)`` of numbers, and what is empty.

    Raises:
        HyperLoRAError: naming it.
    """
    if mask.ndim != 3 or not mask.numel() or not bool(torch.isfinite(mask).all()):
        raise HyperLoRAError(
            f"{name} is no mask, but {tuple(mask.shape)}: finite numbers of a batch, a height and a width were expected"
        )
    if not bool((mask > 0).any()):
        raise HyperLoRAError(
            f"{name} is empty: nothing of this person would be drawn. Paint it, or take the person out"
        )


def for_prompt(conditioning: list, mark: str) -> list:
    """The same CONDITIONING with a mark, for layers whose ``prompt`` it is."""
    return [[tokens, {**about, KEY: about.get(KEY, frozenset()) | {mark}}] for tokens, about in conditioning]
