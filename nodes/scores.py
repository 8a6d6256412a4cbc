"""The node that scores pictures as the evaluation does: by CLIP, by faces, against photos and the prompt."""

from functools import lru_cache
from pathlib import Path

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..hyperlora_core.errors import HyperLoRAError
from ..hyperlora_core.evaluation.clip_scores import WEIGHTS, ClipScorer
from ..hyperlora_core.evaluation.face_scores import FaceJudge
from ..hyperlora_core.evaluation.scoring import Describer, Features, Scores, mean_of, score
from ..hyperlora_core.faces.image_tensors import to_photos
from ..hyperlora_core.files import Stamp, stamp
from .faces import photos_of
from .host.folders import face_embedders, face_folder, open_clip_folders, searched
from .host.progress import Remarks, photo_progress, stage
from .host.sockets import CATEGORY
from .models import AUTO, FACE_MODEL, face_analyzer, face_model_input

_NAMES = {
    "id_sim": "ID Sim",
    "held_out": "held out",
    "copy_paste": "copy-paste",
    "clip_i": "CLIP-I",
    "clip_i_edit": "editability",
    "clip_t": "CLIP-T",
}
_ABSENT = -1.0


def _photos_input(name: str, prefix: str, tooltip: str, slot_tooltip: str) -> io.Input:
    template = io.Autogrow.TemplatePrefix(io.Image.Input(prefix, tooltip=slot_tooltip), prefix=prefix, min=0, max=16)
    return io.Autogrow.Input(name, template=template, optional=True, tooltip=tooltip)


class HyperLoRAScore(io.ComfyNode):
    """Score pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HyperLoRAScore",
            display_name="HyperLoRA Score",
            category=CATEGORY,
            description="Scores pictures as hyperlora evaluate does: likeness to photos by faces (ID Sim) and by CLIP "
            "(CLIP-I), how much a photo is copied, how well the prompt is followed (CLIP-T), and how little the person "
            "changes the rest (editability).",
            search_aliases=["evaluate", "clip score", "id sim", "clip-i", "clip-t", "benchmark", "metrics"],
            inputs=[
                io.Image.Input("images", tooltip="The pictures to score."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip="What was asked for, without trigger words. Empty leaves CLIP-T out.",
                ),
                io.Combo.Input(
                    "clip",
                    options=[AUTO, *sorted(open_clip_folders())],
                    default=AUTO,
                    tooltip="A model of open_clip: a folder under models/open_clip with its weights and its "
                    "open_clip_config.json. auto takes the first. It computes on the CPU.",
                ),
                face_model_input(
                    "What finds faces, and judges them too where id_model is auto. auto takes antelopev2, by which the "
                    "released HyperLoRA reads faces: that flatters."
                ),
                io.Combo.Input(
                    "id_model",
                    options=[AUTO, *sorted(face_embedders())],
                    default=AUTO,
                    optional=True,
                    tooltip="A fairer judge of faces: a file under models/face_embedders by which no identity method "
                    "was trained, as CurricularFace's backbone. auto takes face_model's own.",
                ),
                _photos_input(
                    "photos", "photo", "The photos that the person was encoded from.", "A photo that was encoded."
                ),
                _photos_input(
                    "held_out",
                    "other",
                    "Other photos of the person: by them likeness is told from copying.",
                    "A photo that was not encoded.",
                ),
                io.Image.Input(
                    "without",
                    optional=True,
                    tooltip="What the same prompts and seeds give without the person, in the same order: for "
                    "editability.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report"),
                *[
                    io.Float.Output(
                        display_name=name,
                        is_output_list=True,
                        tooltip="Of each picture; -1 where it cannot be told.",
                    )
                    for name in ("id_sim", "clip_i", "clip_t")
                ],
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(
        cls, clip: str | None = None, face_model: str | None = None, id_model: str | None = None, **_: object
    ) -> object:
        faces = face_folder(FACE_MODEL if face_model in (None, AUTO) else face_model)
        weights = [folder / WEIGHTS for folder in open_clip_folders().values()]
        own = face_embedders().get(id_model or AUTO)
        files = [*sorted(faces.iterdir() if faces and faces.is_dir() else []), *([own] if own else [])]
        return clip, stamp(weights), stamp(files)

    @classmethod
    def execute(
        cls,
        images: Tensor,
        prompt: str,
        clip: str,
        face_model: str,
        id_model: str,
        photos: dict | None = None,
        held_out: dict | None = None,
        without: Tensor | None = None,
    ) -> io.NodeOutput:
        pictures = to_photos(images)
        plain = to_photos(without) if without is not None else []
        if plain and len(plain) != len(pictures):
            raise HyperLoRAError(
                f"{len(pictures)} pictures and {len(plain)} without the person: connect as many, in the same order"
            )
        shown_photos, hidden_photos = photos_of(photos or {}), photos_of(held_out or {})
        if not (shown_photos or hidden_photos or plain or prompt.strip()):
            raise HyperLoRAError("there is nothing to score by: connect photos or pictures without, or give the prompt")
        path = _folder(clip)
        judge = FaceJudge.load(face_analyzer(face_model), _embedder(id_model))
        describer = Describer(_clip(path, stamp([path / WEIGHTS])), judge)
        references, hidden = (
            [_with_face(describer, photo, f"{name} {number}") for number, photo in enumerate(group, start=1)]
            for name, group in (("photo", shown_photos), ("held-out photo", hidden_photos))
        )
        text = describer.text(prompt.strip()) if prompt.strip() else None
        stage("judge")
        progress = photo_progress(len(pictures))
        scores: list[Scores] = []
        for number, picture in enumerate(pictures):
            beside = describer.picture(plain[number]) if plain else None
            scores.append(score(describer.picture(picture), references, hidden, beside, text))
            progress(number + 1)
        remarks = Remarks()
        faceless = sum(entry.face_found == 0 for entry in scores)
        if faceless and (shown_photos or hidden_photos):
            remarks(f"{faceless} of {len(scores)} pictures have no face: their ID Sim is 0")
        lines = [f"picture {number}: {_line(entry)}" for number, entry in enumerate(scores, start=1)]
        if len(scores) > 1:
            lines.append(f"mean: {_line(mean_of(scores))}")
        lines.append(f"CLIP: {describer.clip.encoder.name} ({describer.clip.encoder.sha256[:10]})")
        if shown_photos or hidden_photos:
            lines.append(describer.judge.remark)
        report = "\n".join(lines)
        lists = ([_number(getattr(entry, name)) for entry in scores] for name in ("id_sim", "clip_i", "clip_t"))
        return io.NodeOutput(report, *lists, ui=remarks.ui({"text": [report]}))


def _with_face(describer: Describer, photo: Image.Image, name: str) -> Features:
    features = describer.picture(photo)
    if features.face is None:
        raise HyperLoRAError(f"no face was found on {name} of the person: connect one that shows the face")
    return features


def _line(scores: Scores) -> str:
    values = {title: getattr(scores, name) for name, title in _NAMES.items()}
    return ", ".join(f"{title} {value:.3f}" for title, value in values.items() if value is not None)


def _number(value: float | None) -> float:
    return _ABSENT if value is None else value


def _folder(choice: str) -> Path:
    folders = open_clip_folders()
    folder = folders.get(min(folders, default="") if choice == AUTO else choice)
    if folder is None:
        raise HyperLoRAError(
            f"the CLIP {choice!r} for scores is not in {searched('open_clip')}. Found there: "
            f"{', '.join(folders) or 'nothing'}. hyperlora download clip-scores fetches one, and so does HyperLoRA "
            "models among the editor's commands"
        )
    return folder


def _embedder(choice: str) -> Path | None:
    if choice == AUTO:
        return None
    embedders = face_embedders()
    if choice not in embedders:
        raise HyperLoRAError(
            f"the face embedder {choice!r} is not in {searched('face_embedders')}. Found there: "
            f"{', '.join(embedders) or 'nothing'}"
        )
    return embedders[choice]


@lru_cache(maxsize=1)
def _clip(folder: Path, _: Stamp) -> ClipScorer:
    return ClipScorer.load(folder)
