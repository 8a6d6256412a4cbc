"""The nodes that judge pictures by how like a person they are, and that sample until one is like enough."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io, ui
from torch import Tensor

import nodes as comfy_nodes

from ..hyperlora_core.doors.comfyui.runtime import Layer, add_layers
from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.faces import FaceAnalyzer, draw_faces
from ..hyperlora_core.faces.image_tensors import to_images, to_photos
from ..hyperlora_core.faces.references import find_references
from ..hyperlora_core.faces.scale import INSIGHTFACE
from ..hyperlora_core.identity.value import Identity
from ..hyperlora_core.judging.likeness import Judged, Person, judge, select, written
from ..hyperlora_core.judging.until_alike import sample_until_alike, settings
from .cards import best_score
from .faces import PREVIEW_SIZE, photos_of
from .host.cache import cache
from .host.progress import Remarks, photo_progress, stage
from .host.sockets import CATEGORY, IdentitySocket, LoraSocket, numbers, sampling_inputs
from .lora import ours
from .models import face_analyzer, face_model_input

ORDERS = ("as they came", "best first")


def judge_inputs() -> list[io.Input]:
    """By whom and by what pictures are judged."""
    return [
        face_model_input(
            "What judges. auto takes antelopev2, by which the released HyperLoRA reads faces too: that flatters. "
            "Another face model, with photos of the person, is a fairer judge."
        ),
        IdentitySocket.Input(
            "identity", optional=True, tooltip="Whom to compare with, by the face model it was encoded by."
        ),
        io.Autogrow.Input(
            "photos",
            template=io.Autogrow.TemplatePrefix(
                io.Image.Input("photo", tooltip="A photo of the person, best one that was not encoded."),
                prefix="photo",
                min=0,
                max=16,
            ),
            optional=True,
            tooltip="Whom to compare with, by photos; instead of an identity. Photos that were not encoded judge "
            "fairest.",
        ),
    ]


def person_of(analyzer: FaceAnalyzer, identity: Identity | None, photos: dict | None) -> Person:
    """The person to compare with, from the node's inputs.

    Raises:
        HyperLoRAError: neither an identity nor photos are given, or both.
        NoFaceError: a photo has no face.
    """
    pictures = photos_of(photos or {})
    if (identity is None) == (not pictures):
        connected = "both" if pictures else "neither"
        raise HyperLoRAError(
            f"whom to compare with? {connected} of identity and photos are connected: connect one of them"
        )
    if identity is not None:
        return Person.of_identity(identity)
    return Person.of_references(find_references(analyzer, pictures, cache=cache()))


def shown_of(judged: list[Judged], cls: type[io.ComfyNode]) -> dict:
    """The pictures with each face's score, as a node shows them."""
    previews = []
    for entry in judged:
        best = [entry.faces[entry.scores.index(entry.score)]] if entry.score is not None else []
        previews.append(draw_faces(entry.picture, entry.faces, best, [written(score) for score in entry.scores]))
    return ui.PreviewImage(to_images(previews, PREVIEW_SIZE), cls=cls).as_dict()


class HyperLoRALikeness(io.ComfyNode):
    """Judge pictures by likeness."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRALikeness",
            display_name="HyperLoRA Likeness",
            category=CATEGORY,
            description="Judges how like a person each face on each picture is, sorts the pictures, and drops those "
            "below a limit. A picture's score is that of the face most like the person.",
            search_aliases=["similarity", "face distance", "score", "filter best", "id sim", "compare faces"],
            inputs=[
                io.Image.Input("images", tooltip="The pictures to judge."),
                io.Combo.Input("order", options=list(ORDERS), default=ORDERS[0], tooltip="Of the pictures that stay."),
                io.Float.Input(
                    "least",
                    default=-1.0,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The score that a picture needs to stay: two photos of one person have "
                    f"{INSIGHTFACE.same} and more, mostly. -1 keeps all, those without a face too.",
                ),
                io.Int.Input("most", default=0, min=0, max=4096, tooltip="How many stay, the best. 0 keeps all."),
                *judge_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Float.Output(display_name="best", tooltip="The highest score."),
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="Of the pictures that stay; -1 where there is no face.",
                ),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        order: str,
        least: float,
        most: int,
        face_model: str,
        identity: Identity | None = None,
        photos: dict | None = None,
    ) -> io.NodeOutput:
        analyzer = face_analyzer(face_model)
        person = person_of(analyzer, identity, photos)
        pictures = to_photos(images)
        stage("judge")
        judged = judge(analyzer, person, pictures, cache(), photo_progress(len(pictures)))
        selected = select(judged, least, order == ORDERS[1], most)
        report = "\n".join([*map(str, judged), person.remark])
        scores = [-1.0 if picture.score is None else picture.score for picture in selected]
        all_scores = [picture.score for picture in judged]
        remarks = Remarks()
        if not any(score is not None for score in all_scores):
            remarks("no face was found on any picture")
        return io.NodeOutput(
            images[[picture.number - 1 for picture in selected]],
            max(scores),
            scores,
            report,
            ui=remarks.ui({**shown_of(judged, cls), **best_score(all_scores), "text": [report]}),
        )


class HyperLoRASampleUntilAlike(io.ComfyNode):
    """Sample, judge, and go on until a picture is like the person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRASampleUntilAlike",
            display_name="HyperLoRA Sample until Alike",
            category=CATEGORY,
            description="Samples, decodes and judges one seed after another, and one strength after another, until a "
            "picture is as like the person as wanted, and gives the best of all.",
            search_aliases=["ksampler", "closed loop", "retry", "best of n", "seed search", "likeness gate"],
            inputs=[
                io.Model.Input("model", tooltip="A model that draws the person, or a plain one and the LoRA below."),
                io.Conditioning.Input("positive", tooltip="The prompt; begin it with the trigger words."),
                io.Conditioning.Input("negative", tooltip="What is not wanted."),
                io.Latent.Input(
                    "latent_image", tooltip="The size, or a picture to begin with; batches are judged too."
                ),
                io.Vae.Input("vae", tooltip="Decodes the pictures that are judged."),
                *sampling_inputs(1.0),
                io.Float.Input(
                    "enough",
                    default=INSIGHTFACE.usual,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The score at which it stops. 1 tries everything and gives the best.",
                ),
                io.Int.Input("seeds", default=4, min=1, max=64, tooltip="How many seeds are tried, from seed on."),
                io.String.Input(
                    "strengths",
                    default="",
                    tooltip="Strengths of the LoRA below, tried with each seed, as '0.8, 1, 1.2'. Empty: 1.",
                ),
                LoraSocket.Input(
                    "lora",
                    optional=True,
                    tooltip="The person's LoRA, applied at run-time at each of the strengths; not needed where the "
                    "model has it already.",
                ),
                *judge_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="Of the best picture."),
                io.Image.Output(display_name="image", tooltip="The best picture."),
                io.Float.Output(display_name="score"),
                io.Int.Output(display_name="seed", tooltip="Of the best picture's batch."),
                io.Float.Output(display_name="strength"),
                io.Image.Output(display_name="all_images", tooltip="Every picture that was drawn, in order."),
                io.String.Output(display_name="report"),
                io.Float.Output(
                    display_name="scores", is_output_list=True, tooltip="Of all pictures, in order; -1 without a face."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: list,
        negative: list,
        latent_image: dict[str, Any],
        vae: VAE,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        enough: float,
        seeds: int,
        strengths: str,
        face_model: str,
        lora: Mapping[str, Tensor] | None = None,
        identity: Identity | None = None,
        photos: dict | None = None,
    ) -> io.NodeOutput:
        if lora is None and strengths.strip():
            raise HyperLoRAError(f"strengths are {strengths!r}, but no LoRA is connected whose they could be")
        analyzer = face_analyzer(face_model)
        person = person_of(analyzer, identity, photos)
        attempts = settings(seed, seeds, numbers(strengths) or [1.0])
        count = itertools.count(1)

        def sample(seed: int, strength: float) -> tuple[Tensor, Tensor]:
            stage("sample", n=next(count), all=len(attempts))
            applied = model if lora is None else add_layers(model, [Layer(ours(lora), strength)])
            (latent,) = comfy_nodes.common_ksampler(
                applied, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise=denoise
            )
            return latent["samples"], comfy_nodes.VAEDecode().decode(vae, latent)[0]

        def judge_images(images: Tensor) -> list[Judged]:
            return judge(analyzer, person, to_photos(images), cache())

        pictures, best = sample_until_alike(attempts, sample, judge_images, enough)
        remarks = Remarks()
        if best.rank < enough:
            remarks(f"none of {len(pictures)} pictures reached {enough:g}; the best has {best.rank:.3f}")
        line = "seed {0.seed}, {0.judged}" if lora is None else "seed {0.seed}, strength {0.strength:g}, {0.judged}"
        report = "\n".join([*map(line.format, pictures), person.remark])
        preview = shown_of([picture.judged for picture in pictures], cls)
        return io.NodeOutput(
            {"samples": best.latent},
            best.image,
            best.rank,
            best.seed,
            best.strength,
            torch.cat([picture.image for picture in pictures]),
            report,
            [-1.0 if picture.judged.score is None else picture.judged.score for picture in pictures],
            ui=remarks.ui({**preview, **best_score([best.judged.score]), "text": [report]}),
        )
