"""LoRAs applied while ComfyUI's UNet runs; no weight is changed, and each LoRA may act on a part of the latent.

A low-rank product is added to the output of each projection: y + gate * (x @ down.T) @ up.T. All LoRAs of a model are
one product of their stacked ranks; the gate says on which rows of the batch and on which picture tokens each rank acts.
Keys and values of a cross-attention have no picture tokens. Where a LoRA has a mask, cross-attention is therefore
computed once more with that LoRA's keys and values, and the two results are blended by the mask.

A projection's ``forward`` is replaced for the duration of a call of the model. So nothing is left behind after an
exception; a module that was reloaded or compiled in the meantime is the one that is patched; and torch.compile follows
the exchange, where it would go on with the first hook that it traced.

``layers`` says what to apply: a LoRA with its strength, schedule, mask and place in the batch. ``wrappers`` registers
with ComfyUI's model patcher. During a call, ``calls`` is what the UNet was given, ``pictures`` which part of the batch
and the latent that is, and ``call_patches`` replaces the forwards: those of ``linears`` and ``cross_attention``, with
the gates of ``gates`` and the masks of ``masks``. ``tiles`` notices nodes that draw a picture in tiles.
"""

from .layers import Layer, check_mask, for_prompt, in_regions, per_item
from .wrappers import add_layers, layers_of

__all__ = ["Layer", "add_layers", "check_mask", "for_prompt", "in_regions", "layers_of", "per_item"]
