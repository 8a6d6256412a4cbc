"""The task: what the real training loop (``hyperlora_core.training.loop``) is given to learn on.

Every sample is a new person. All that is drawn belongs to the sample's number: the person, the pictures, the scenario,
what the prompt says, the noise of the encoder. Shapes: B samples, R reference photos each.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperlora_core.training import counter
from hyperlora_core.training.config import TrainConfig
from hyperlora_core.training.forward import Conditions
from hyperlora_core.training.losses import Batch
from hyperlora_core.training.shape import NetworkShape

from .base import Base, latents_of, objective
from .encoders import CLIP_WIDTH, EMBED_DIM, EMBED_NOISE, FaceEncoder, TokenEncoder
from .words import prompts
from .world import IDENTITY, SCENE_DRAWS, photos, scenes, without_face

SHAPE = NetworkShape(
    bases=24,
    id_rank=4,
    base_rank=2,
    dim=96,
    heads=2,
    depth=2,
    ff_mult=2,
    id_tokens=8,
    id_embed_dim=EMBED_DIM,
    clip_width=CLIP_WIDTH,
)


class World:
    """The frozen parts: the base and the two encoders.

    Args:
        base: UNet and words.
        face: in AntelopeV2's place.
        tokens: in CLIP's.
    """

    def __init__(self, base: Base, face: FaceEncoder, tokens: TokenEncoder) -> None:
        self.base, self.face, self.tokens = base, face, tokens

    @torch.no_grad()
    def conditions(
        self, references: Tensor, noise: Tensor, faceless: Tensor, present: Tensor, id_on: Tensor, base_on: Tensor
    ) -> Conditions:
        """What the hypernetwork reads.

        Args:
            references: ``(B, R, 3, 32, 32)``.
            noise: of the face embeddings, ``(B, R, 64)``.
            faceless: the picture whose face is greyed, ``(B, 3, 32, 32)``.
            present: ``(B, R)``, see ``Conditions``.
            id_on: ``(B,)``.
            base_on: ``(B,)``.
        """
        batch, refs = references.shape[:2]
        flat = references.flatten(0, 1)
        embeds = F.normalize(self.face(flat).unflatten(0, (batch, refs)) + EMBED_NOISE * noise, dim=-1)
        return Conditions(
            id_on, base_on, present, embeds, self.tokens(flat).unflatten(0, (batch, refs)), self.tokens(faceless)
        )


class ToyTask:
    """Implements ``hyperlora_core.training.loop.Task``.

    Args:
        world: the frozen parts.
        config: of the run: scenarios, references, whether the reference is another photo, seed.

    Attributes:
        unet: the base's.
        objective: its loss.
    """

    def __init__(self, world: World, config: TrainConfig) -> None:
        self.world, self.config = world, config
        self.unet = world.base.unet
        self.objective = objective()

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        """See ``Task.batches``."""
        return map(self.batch, passes)

    def batch(self, samples: range) -> Batch:
        """The samples of a pass."""
        config = self.config
        scenarios = [config.scenario(counter.uniform(config.seed, each, "scenario")) for each in samples]
        identity = uniforms(config.seed, samples, "person", len(IDENTITY))
        scene = scenes(uniforms(config.seed, samples, "scene", SCENE_DRAWS))
        target = photos(identity, scene)
        references = target[:, None]
        if config.other_photo or config.references > 1:
            references = others(config.seed, samples, identity, config.references)
            if not config.other_photo:
                references[:, 0] = target
        refs = counter.integers(config.seed, samples, "references", config.references) + 1
        said = uniforms(config.seed, samples, "said", 1)[:, 0] < 0.5
        words = prompts(scene.background, scene.clothing, said, torch.tensor([each.trigger for each in scenarios]))
        return Batch(
            samples,
            latents_of(target),
            self.world.conditions(
                references,
                counter.normal(config.seed, samples, "embedding", (config.references, EMBED_DIM)),
                without_face(target, scene),
                (torch.arange(config.references) < refs[:, None]).float(),
                torch.tensor([float(each.id) for each in scenarios]),
                torch.tensor([float(each.base) for each in scenarios]),
            ),
            {"encoder_hidden_states": self.world.base.words(words)},
        )


def uniforms(seed: int, samples: Sequence[int], purpose: str, count: int) -> Tensor:
    """Numbers from [0, 1) for each sample: ``(samples, count)``."""
    return torch.stack([torch.rand(count, generator=counter.generator(seed, each, purpose)) for each in samples])


def others(seed: int, samples: Sequence[int], identity: Tensor, refs: int) -> Tensor:
    """Other photos of the same people: ``(B, R, 3, 32, 32)``."""
    each_scene = [scenes(uniforms(seed, samples, f"reference {i}", SCENE_DRAWS)) for i in range(refs)]
    return torch.stack([photos(identity, scene) for scene in each_scene], dim=1)
