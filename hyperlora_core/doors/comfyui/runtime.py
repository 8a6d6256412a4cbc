"""LoRAs that act while ComfyUI's UNet runs: no weight is touched, and each may act on a part of what is drawn.

A low-rank product is added to what a projection gives: y + gate * (x @ down.T) @ up.T. All LoRAs of a model are one
product of their joined ranks; the gate says on which rows of the batch and which tokens of the picture each rank
acts. The prompt's keys and values have no picture tokens: where a mask confines a LoRA, attention to the prompt runs
once more with that LoRA's own, and what it gives is blended in by the mask.

A projection's ``forward`` is replaced while the model is called, and at no other time. So nothing remains after an
exception; what is replaced is what is about to run, whoever reloaded or compiled the model; and torch.compile follows
the exchange, where it would go on with the first hook it ever saw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor, nn

from ...errors import HyperLoRAError
from ...lora.schedule import Schedule
from ...lora.value import Factors, LoRA, in_one_copy
from .calls import CROSSED, Call, Moment, Prompt
from .masks import Painted, Where, of_pictures
from .patching import fitting
from .pictures import Part, Sampled, numbers, remember
from .projections import Joined, Standing
from .tiles import Watch

KEY = "hyper_lora"
KINDS = (WrappersMP.OUTER_SAMPLE, WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL)
MOST_MASKS = 32  # kept on a device while sampling; each window of a long batch needs its own


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

    def of(self, sampled: Sampled) -> list[bool]:
        """Whether it is each picture's place.

        Raises:
            HyperLoRAError: the list does not fit the batch.
        """
        batch = max(sampled.numbers) + 1
        if self.count < batch and not self.repeat:
            raise HyperLoRAError(
                f"there are {self.count} identities for a batch of {batch} pictures: add identities, or let them repeat"
            )
        if self.count > batch and not sampled.cut:
            raise HyperLoRAError(
                f"there are {self.count} identities for a batch of {batch} pictures: make the batch as large, or use "
                "HyperLoRA Apply where pictures, tiles or faces are drawn one at a time"
            )
        return [number % self.count == self.index for number in sampled.numbers]


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

    @property
    def by_picture(self) -> bool:
        """Whether it matters which picture of a batch is drawn."""
        several = self.mask is not None and len(self.mask) > 1
        return several or (self.place is not None and (self.place.count > 1 or not self.place.repeat))


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
    for kind, wrapper in zip(KINDS, (runtime.sample, runtime.look_at_prompts, runtime.run), strict=True):
        clone.remove_wrappers_with_key(kind, KEY)
        clone.add_wrapper_with_key(kind, KEY, wrapper)
    clone.remove_callbacks_with_key(CallbacksMP.ON_CLEANUP, KEY)
    clone.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, runtime.forget)
    return clone


def layers_of(model: ModelPatcher) -> tuple[Layer, ...]:
    """The LoRAs that act while a model runs."""
    return tuple(layer for run in model.get_wrappers(WrappersMP.APPLY_MODEL, KEY) for layer in run.__self__.layers)


class Runtime:
    """Applies layers in the calls of a model's UNet.

    ComfyUI may call it from several threads at once, one a device: what is kept here is put in place when it is whole.

    Attributes:
        layers: they stay as they are; what else is here is forgotten when sampling ends.
        fits: of each layer, ComfyUI's key of a weight -> the LoRA's factors for it.
        confined: numbers of the layers that have a mask.
    """

    def __init__(self, layers: Sequence[Layer], fits: Sequence[Mapping[str, Factors]]) -> None:
        self.layers = tuple(layers)
        self.fits = tuple(fits)
        self.confined = frozenset(number for number, layer in enumerate(layers) if layer.mask is not None)
        self._watch = Watch([layer.mask for layer in layers if layer.mask is not None])
        self.forget()

    def forget(self, *_: Any) -> None:
        """Let go of what was put on a device."""
        self._joined: dict[tuple[torch.device, torch.dtype], dict[str, Joined]] = {}
        self._painted: dict[Any, Painted] = {}
        self._percents: dict[float, float] = {}
        self._prompts: dict[Any, Prompt] = {}
        self._retained: Sequence[int] = ()
        self._sampled: Sampled | None = None

    def sample(self, executor: Callable, noise: Tensor, latents: Tensor, *rest: Any, **named: Any) -> Tensor:
        """Around one sampling: take note of whose pictures these are.

        Raises:
            HyperLoRAError: it matters whose each is, and that cannot be known.
        """
        by_picture = any(layer.by_picture for layer in self.layers)
        seed = named["seed"] if "seed" in named else rest[5] if len(rest) > 5 else None
        which = numbers(noise, latents, seed) if by_picture else tuple(range(len(noise)))
        self._sampled = sampled = Sampled(which, *noise.shape[-2:])
        if self.confined:
            self._watch.see(latents, sampled)
        drawn = executor(noise, latents, *rest, **named)
        if by_picture:
            remember(drawn, sampled)
        return drawn

    def look_at_prompts(
        self, executor: Callable, model: Any, conds: list, x: Tensor, t: Tensor, options: Mapping[str, Any]
    ) -> Any:
        """Around ComfyUI's evaluation of all conditionings at one step: take note of whose mark and area each has."""
        self._retained = getattr(options.get("context_handler"), "latent_retain_index_list", ())
        for cond in (cond for each in conds for cond in each or ()):
            area = tuple(cond["area"]) if "area" in cond else None
            self._prompts[cond["uuid"]] = Prompt(cond.get(KEY, frozenset()), area)
        return executor(model, conds, x, t, options)

    def run(self, executor: Any, x: Tensor, t: Tensor, *args: Any, **named: Any) -> Any:
        """Around one call of the model on ``(rows, channels, height, width)``.

        Raises:
            HyperLoRAError: the layers' places or masks do not fit the batch, or what is drawn cannot be known.
        """
        options = named["transformer_options"] if "transformer_options" in named else args[3]
        model = executor.class_obj
        uuids = options.get("uuids") or [None] * len(options.get("cond_or_uncond", (0,)))
        prompts = [self._prompts.get(uuid, Prompt()) for uuid in uuids]
        call = Call(x, prompts, options, self._sampled or Sampled(tuple(range(len(x) // len(prompts))), *x.shape[-2:]))
        parts = call.parts(self._retained)
        rows = self.rows(model, call, parts)
        if rows is not None and not rows.any():
            return executor(x, t, *args, **named)
        joined = self.joined(model, x.device)
        moment = Moment(self.confined, rows, Where(self.painted(call, parts), options) if self.confined else None)
        started: list[tuple[nn.Module, Standing]] = []
        try:
            for module, standing in moment.standing(model, joined):
                standing.start(module)
                started.append((module, standing))
            return executor(x, t, *args, **named)
        finally:
            for module, standing in reversed(started):
                standing.stop(module)

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

    def rows(self, model: Any, call: Call, parts: Sequence[Part]) -> Tensor | None:
        """How much each layer acts on each row: ``(rows, layers)`` on the CPU, or None if every one acts fully.

        Raises:
            HyperLoRAError: places do not fit the batch, or it cannot be known which pictures or prompts rows are.
        """
        if not any(layer.varies for layer in self.layers):
            return None
        columns = []
        for layer in self.layers:
            now = 1.0 if layer.schedule is None else layer.schedule.at(self._percent(model, call.options["sigmas"]))
            if not layer.by_picture and layer.prompt is None:
                columns.append([now] * len(call.x))
                continue
            places = [True] * len(call.sampled.numbers) if layer.place is None else layer.place.of(call.sampled)
            columns.append(
                [
                    now if places[picture] and (layer.prompt is None or layer.prompt in prompt.marks) else 0.0
                    for prompt, part in zip(call.prompts, parts, strict=True)
                    for picture in call.pictures(part)
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

    def painted(self, call: Call, parts: Sequence[Part]) -> Painted:
        """All layers' masks over the rows of a call, those without a mask at 1.

        Raises:
            HyperLoRAError: a mask does not fit the batch, or what is drawn cannot be known.
        """
        key = (call.x.device, tuple(parts))
        painted = self._painted.get(key)
        if painted is None:
            whole = torch.stack([of_pictures(layer.mask, call.sampled) for layer in self.layers])
            cuts = [whole[:, call.pictures(part)][:, :, call.lines(part)][..., call.columns(part)] for part in parts]
            painted = Painted(torch.cat(cuts, dim=1), call.x.device)
            if len(self._painted) >= MOST_MASKS:
                self._painted = {}
            self._painted[key] = painted
        return painted


def _join(parts: Sequence[tuple[int, Tensor, Tensor]], dtype: torch.dtype) -> Joined:
    downs, ups = [down for _, down, _ in parts], [up for _, _, up in parts]
    return Joined(
        torch.cat(downs).to(dtype), torch.cat(ups, dim=1).to(dtype), tuple((n, len(down)) for n, down, _ in parts)
    )


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
    batch = Sampled(tuple(range(max(len(mask) for mask in masks))), height, width)
    alike = [of_pictures(mask, batch) for mask in masks]
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
