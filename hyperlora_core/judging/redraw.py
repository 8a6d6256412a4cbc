"""Drawing the faces of pictures again, each as its person; sampling is the caller's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from ..errors import NoFaceError
from ..faces import Face, sort_faces
from .likeness import Judged, written
from .refine import Cut, assign


@dataclass(frozen=True)
class Framing:
    """How faces are cut out of a picture.

    Attributes:
        size: pixels a side at which a face is drawn.
        surroundings: side of the square that is cut out, as a factor of the face box's.
        feather: width of the mask's soft edge, as a share of the square's side.
    """

    size: int
    surroundings: float
    feather: float


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Pictures with faces drawn again.

    Attributes:
        images: ``(pictures, height, width, 3)``, 0 to 1.
        masks: ``(pictures, height, width)``, 0 to 1: where they were drawn again.
        lines: what happened to each face.
        remarks: pictures that stayed as they were, and why.
    """

    images: Tensor
    masks: Tensor
    lines: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def redraw_faces(
    images: Tensor,
    pictures: Sequence[Image.Image],
    people: int,
    detect: Callable[[Image.Image], Sequence[Face]],
    judges: Sequence[Callable[[Image.Image], Judged]] | None,
    draw: Callable[[Tensor, Tensor, int], Tensor],
    framing: Framing,
    least_likeness: float,
    skip_without_face: bool,
) -> Redrawn:
    """Draw each face again as the person it belongs to.

    Args:
        images: ``(pictures, height, width, 3)``, 0 to 1.
        pictures: the same pictures for the face models, perhaps smaller.
        people: how many there are; each has one face a picture at most.
        detect: finds the faces of a picture.
        judges: one a person, each compares a picture's faces with the person: faces go to whom they are like. None:
            faces go to the people from left to right.
        draw: called with a face cut out, ``(1, size, size, 3)``, its mask, ``(1, side, side)``, and the person's
            number; returns it drawn again.
        framing: how faces are cut out.
        least_likeness: likeness that a face needs to be a person's, where judges assign.
        skip_without_face: let pictures without a face through; else they are an error.

    Raises:
        NoFaceError: a picture has no face.
        HyperLoRAError: there are not as many judges as people.
    """
    results, masks = [], []
    lines: list[str] = []
    remarks: list[str] = []
    for number, (image, picture) in enumerate(zip(images, pictures, strict=True), start=1):
        judged = None if judges is None else [judge(picture) for judge in judges]
        faces = judged[0].faces if judged else sort_faces(detect(picture), "left to right")
        person_of = assign(faces, people, judged, least_likeness)
        if not faces:
            problem = f"no face was found on picture {number} of {len(images)}"
            if not skip_without_face:
                raise NoFaceError(f"{problem}: set on_no_face to skip to let such pictures through")
            remarks.append(f"{problem}: it stays as it is")
        elif not person_of:
            remarks.append(
                f"no face on picture {number} of {len(images)} is like a person connected: it stays as it is"
            )
        picture_mask = torch.zeros(image.shape[:2])
        for place, face in enumerate(faces):
            if place not in person_of:
                lines.append(f"picture {number}, face {place + 1}: nobody's, as it was")
                continue
            person = person_of[place]
            image, mask = _redraw_face(image, face.scaled(image.shape[1] / picture.width), person, draw, framing)
            picture_mask = torch.maximum(picture_mask, mask)
            before = f", likeness {written(judged[person].scores[place])} before" if judged else ""
            lines.append(f"picture {number}, face {place + 1}: person {person + 1}{before}")
        results.append(image)
        masks.append(picture_mask)
    return Redrawn(torch.stack(results), torch.stack(masks), lines, remarks)


def _redraw_face(
    image: Tensor, face: Face, person: int, draw: Callable[[Tensor, Tensor, int], Tensor], framing: Framing
) -> tuple[Tensor, Tensor]:
    """The picture ``(height, width, 3)`` with one face drawn again, and the mask ``(height, width)``."""
    cut = Cut.around(face, (image.shape[1], image.shape[0]), framing.surroundings)
    mask = cut.mask(face, framing.feather)
    drawn = draw(cut.take(image, framing.size)[..., :3], mask[None], person)
    whole_mask = torch.zeros(image.shape[:2])
    whole_mask[cut.top : cut.top + cut.side, cut.left : cut.left + cut.side] = mask
    return cut.put_back(image, drawn, mask), whole_mask
