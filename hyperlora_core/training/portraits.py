"""What a HyperLoRA learns on: the portraits of a training set, drawn by a base model.

What a sample of the run is follows from the run's seed and the sample's number alone, see ``counter``.

Shapes: B samples, R reference photos (padded), S side of CLIP's pictures.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..cache import Cache
from ..clip.vision import ClipVision, normalised, square
from ..data.shards import Sample, Shards, UnreadableError
from ..doors.diffusers.base_model import BaseModel
from ..errors import HyperLoRAError
from ..faces import crops
from ..network.config import HyperLoRAConfig
from . import counter
from .config import TrainConfig
from .forward import Conditions
from .framing import Frame
from .held_out import trained_on
from .losses import Batch
from .objective import Objective
from .targets import Target, as_pixels, check_resolution, cut, encoded, face_weights, frame_of, prompt_of

_TRIES = 100  # broken samples in a row

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Portrait:
    """One sample, as the worker that read it hands it over.

    Attributes:
        number: of the sample in the run.
        place: of the target in the set.
        target: what is to be drawn.
        keypoints: ``(5, 2)``, of the face on it, shares of its side.
        id_on, base_on: whether each LoRA acts.
        embeds: ``(refs, id_embed_dim)``.
        id_pictures: ``(refs, 3, S, S)`` for CLIP, or None where nothing reads them.
        base_picture: ``(3, S, S)`` for CLIP, or None where nothing reads it.
    """

    number: int
    place: int
    target: Target
    keypoints: Tensor
    id_on: bool
    base_on: bool
    embeds: Tensor
    id_pictures: Tensor | None
    base_picture: Tensor | None


class Portraits(Dataset[Portrait]):
    """The samples of a run, by their numbers.

    Args:
        shards: the training set.
        config: of the run.
        clip_size: side of the pictures that CLIP takes; None where the network reads no CLIP.
        makes: the LoRAs that the stage draws with.
        places: of the set's samples that are drawn; None for all.
    """

    def __init__(
        self,
        shards: Shards,
        config: TrainConfig,
        clip_size: int | None,
        makes: frozenset[str],
        places: Sequence[int] | None = None,
    ) -> None:
        self.shards, self.config, self.clip_size, self.makes = shards, config, clip_size, makes
        self.places = range(len(shards)) if places is None else places
        self._kept = Cache(config.photo_cache << 20)

    def __getitem__(self, number: int) -> Portrait:
        """The sample of a number; where the picture that it draws is broken, the next whole one of the set.

        Raises:
            HyperLoRAError: many in a row are broken.
        """
        drawn = self._drawn(number)
        tries = min(_TRIES, len(self.places))
        for offset in range(tries):
            try:
                return self.portrait(number, self.places[(drawn + offset) % len(self.places)])
            except UnreadableError:
                raise
            except HyperLoRAError as error:
                log.warning("%s; the next sample takes its place", error)
        raise HyperLoRAError(
            f"{tries} samples in a row of {self.shards.folder} are broken, from {self.places[drawn]} on: prepare it "
            "again"
        )

    def place(self, number: int) -> int:
        """Where in the set the picture of a sample lies; each as likely as any other."""
        return self.places[self._drawn(number)]

    def _drawn(self, number: int) -> int:
        return int(counter.integers(self.config.seed, [number], "picture", len(self.places))[0])

    def portrait(self, number: int, place: int) -> Portrait:
        """The sample of a number, of the picture at a place.

        Raises:
            HyperLoRAError: it, or a reference of it, is broken.
        """
        config = self.config
        sample = self.shards[place]
        photo = cache(sample.photo)  # decoded where a cut of it is not kept
        scenario = config.scenario(counter.uniform(config.seed, number, "scenario"))
        frame = frame_of((sample.width, sample.height), sample.box.tolist(), config, number)
        pixels, base_square = self._kept.get(
            ("target", place, frame), lambda: self._target_cuts(photo(), sample.landmarks, frame)
        )
        references = {at: sample if at == place else self.shards[at] for at in self._references(number, place)}
        squares = [
            self._id_cut(at, reference, photo if at == place else reference.photo)
            for at, reference in references.items()
        ]
        return Portrait(
            number=number,
            place=place,
            target=Target(
                as_pixels(pixels),
                frame.size_condition(sample.width, sample.height, config.resolution),
                prompt_of(sample.caption, scenario.trigger, config, number),
                frame.within(tuple(sample.box.tolist())),
            ),
            keypoints=torch.from_numpy((sample.keypoints + 0.5 - (frame.left, frame.top)) / frame.side).float(),
            id_on=scenario.id,
            base_on=scenario.base,
            embeds=torch.from_numpy(np.stack([reference.embed for reference in references.values()])),
            id_pictures=normalised(torch.stack(squares)) if squares[0].numel() else None,
            base_picture=None if base_square is None else normalised(base_square),
        )

    def _references(self, number: int, place: int) -> Sequence[int]:
        """Places of the reference photos of a sample: its own, or others of the person where the run wants these."""
        photos = list(self.shards.photos_of(place))
        if self.config.other_photo and len(photos) > 1:
            photos.remove(place)
        elif self.config.references == 1:
            return [place]
        numbers = counter.generator(self.config.seed, number, "references")
        count = int(torch.randint(1, 1 + min(self.config.references, len(photos)), (), generator=numbers))
        order = [photos[i] for i in torch.randperm(len(photos), generator=numbers).tolist()]
        if not self.config.other_photo:
            order.remove(place)
            order.insert(0, place)
        return order[:count]

    def _id_cut(self, at: int, sample: Sample, photo: Callable[[], Image.Image]) -> Tensor:
        """A reference's face as CLIP is shown it, ``(3, S, S)`` uint8; empty where nothing reads it."""
        side = self.clip_size
        if side is None or "id" not in self.makes:
            return torch.empty(0)
        return self._kept.get(("id", at), lambda: square(crops.id_image(photo(), sample.landmarks), side))

    def _target_cuts(self, photo: Image.Image, landmarks: np.ndarray, frame: Frame) -> tuple[Tensor, Tensor | None]:
        """The cut that is the target; and as CLIP is shown it, its face blurred, or None where nothing reads that."""
        target = cut(photo, frame, self.config.resolution)
        if self.clip_size is None or "base" not in self.makes:
            return target, None
        landmarks_in_frame = landmarks - np.array([frame.left, frame.top], np.float32)
        return target, square(crops.base_image(photo.crop(frame.box), landmarks_in_frame, crop=False), self.clip_size)


class _Read(Dataset[Portrait | HyperLoRAError]):
    """Portraits, and errors as they are: a loader would wrap those of its workers in their tracebacks."""

    def __init__(self, portraits: Portraits) -> None:
        self.portraits = portraits

    def __getitem__(self, number: int) -> Portrait | HyperLoRAError:
        try:
            return self.portraits[number]
        except HyperLoRAError as error:
            return error


def _leave_signals(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the run's own decides, and needs its workers until its state lies."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class PortraitTask:
    """The ``Task`` of training on portraits.

    Args:
        base: the base model; its UNet is what the LoRAs are injected into.
        clip: the CLIP tower that the network reads; None where it reads none.
        shards: the training set.
        network: configuration of what is trained.
        config: of the run.
        makes: the LoRAs that the stage draws with.

    Attributes:
        portraits: the samples, of all who are not held out.

    Raises:
        HyperLoRAError: the set, the base model or CLIP does not fit the network or the run.
    """

    def __init__(
        self,
        base: BaseModel,
        clip: ClipVision | None,
        shards: Shards,
        network: HyperLoRAConfig,
        config: TrainConfig,
        makes: frozenset[str],
    ) -> None:
        check_resolution(base, config)
        if network.id_embed_dim is not None and (width := len(shards[0].embed)) != network.id_embed_dim:
            raise HyperLoRAError(
                f"the training set {shards.folder} holds face embeddings of {width} numbers "
                f"({shards.info.face_encoder.name}); this HyperLoRA reads {network.id_embed_dim}"
            )
        if network.clip_width is not None and clip is None:
            raise HyperLoRAError("this HyperLoRA reads CLIP: name it with --clip")
        if (config.other_photo or config.references > 1) and not shards.people:
            raise HyperLoRAError(
                f"{shards.folder} knows nobody by name, so no sample has another photo of its person: prepare it with "
                "--person-folders or a person in the notes, or leave out --other-photo and --references"
            )
        self.base, self.clip, self.config = base, clip, config
        self.unet = base.unet
        base.captions.limit, base.encodings.limit = config.caption_cache << 20, config.latent_cache << 20
        self.objective = Objective(*base.noise_schedule(), config.min_snr_gamma, config.noise_offset)
        size = clip.image_size if clip is not None else None
        self.portraits = Portraits(shards, config, size, makes, trained_on(shards, config.validation.people))

    def batches(self, passes: Iterator[range]) -> Iterator[Batch]:
        """The samples of each pass, read ahead by worker processes, on the device.

        Raises:
            HyperLoRAError: many samples in a row are broken.
        """
        loader = DataLoader(
            _Read(self.portraits),
            batch_sampler=map(list, passes),
            num_workers=self.config.workers,
            collate_fn=list,
            worker_init_fn=_leave_signals,
        )
        for items in loader:
            for item in items:
                if isinstance(item, HyperLoRAError):
                    raise item
            yield self.batch(items)

    def batch(self, portraits: Sequence[Portrait]) -> Batch:
        """Samples with consecutive numbers, encoded."""
        samples = range(portraits[0].number, portraits[-1].number + 1)
        targets = [portrait.target for portrait in portraits]
        latents, inputs = encoded(self.base, self.config.seed, samples, targets)
        weights = face_weights(targets, latents.shape[2:], self.config.face_weight)
        keypoints = torch.stack([portrait.keypoints for portrait in portraits])
        return Batch(samples, latents, self.conditions(portraits), inputs, weights, keypoints)

    def conditions(self, portraits: Sequence[Portrait]) -> Conditions:
        """What the network reads of samples."""
        device = self.base.device
        counts = [len(portrait.embeds) for portrait in portraits]
        present = (torch.arange(max(counts)) < torch.tensor(counts)[:, None]).float()
        return Conditions(
            id_on=torch.tensor([float(portrait.id_on) for portrait in portraits], device=device),
            base_on=torch.tensor([float(portrait.base_on) for portrait in portraits], device=device),
            present=present.to(device),
            id_embeds=_padded([portrait.embeds for portrait in portraits]).to(device),
            clip_tokens=self._tokens([portrait.id_pictures for portrait in portraits]),
            base_tokens=self._base_tokens([portrait.base_picture for portrait in portraits]),
        )

    def _tokens(self, pictures: Sequence[Tensor | None]) -> Tensor | None:
        """CLIP's tokens of each sample's reference photos, ``(B, R, tokens, width)``."""
        stacks = [stack for stack in pictures if stack is not None]
        if self.clip is None or not stacks:
            return None
        tokens = self.clip.tokens(torch.cat(stacks))
        return _padded(tokens.split([len(stack) for stack in stacks]))

    def _base_tokens(self, pictures: Sequence[Tensor | None]) -> Tensor | None:
        blurred = [picture for picture in pictures if picture is not None]
        return self.clip.tokens(torch.stack(blurred)) if self.clip is not None and blurred else None


def _padded(values: Sequence[Tensor]) -> Tensor:
    """Tensors of unequal lengths side by side, zeros after the shorter ones."""
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True)
