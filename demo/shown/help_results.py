"""``web/docs/results/<node>.webp``: what nodes do to a portrait, for help pages whose graph says little.

``make help-pictures`` runs it, after the nodes' own pictures.
"""

import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from demo.server import PACK, ComfyServer
from demo.sheet import Panel, sheet
from demo.trained import folders
from hyperlora_core import open_photo

from . import examples, material, world
from .studio import Studio, kept_pictures, workflow

FOLDER = PACK / "web" / "docs" / "results"
TITLE = "Drawn by the demo's small models, in a world of drawn people"
SIDE = 176

_SEED = 1

log = logging.getLogger("demo.shown")


def _photo(person: int, said: str = "the photo") -> Panel:
    return Panel(open_photo(world.photo(person)), [said])


def portrait(studio: Studio) -> Sequence[Panel]:
    """More and more of the person."""
    return [_photo(examples.ONE)] + [
        Panel(
            material.simple(studio, examples.ONE, world.told(examples.PORTRAIT), _SEED, id_weight=weight),
            [f"id_weight {weight:g}"],
        )
        for weight in (0.0, 0.5, 1.0)
    ]


def base(studio: Studio) -> Sequence[Panel]:
    """More and more of the photo's scene."""
    return [_photo(examples.OTHER)] + [
        Panel(
            material.simple(studio, examples.OTHER, world.told("photo of a person"), _SEED, base_weight=weight),
            [f"base_weight {weight:g}"],
        )
        for weight in (0.0, 0.5, 1.0)
    ]


def blend(studio: Studio) -> Sequence[Panel]:
    """From one person to another."""
    one, other = examples.ONE, examples.OTHER
    panels = [_photo(one, "the one")]
    for amount in (0.0, 0.5, 1.0):
        values = {
            "Photo of one": {"image": studio.send(world.photo(one))},
            "Photo of the other": {"image": studio.send(world.photo(other))},
            "HyperLoRA Blend People": {"amount": amount},
        }
        (picture,) = studio.draw(workflow("people_blend", material.plain_text(), values))
        panels.append(Panel(picture, [f"amount {amount:g}"]))
    return [*panels, _photo(other, "the other")]


def slider(studio: Studio) -> Sequence[Panel]:
    """Younger and older."""
    young, old = material.young_and_old()
    panels = []
    for strength in (-1.0, 0.0, 1.0):
        values = {
            "Photo": {"image": studio.send(world.photo(examples.ONE))},
            "More of it": {"image": studio.send(old)},
            "Less of it": {"image": studio.send(young)},
            "HyperLoRA Save Slider": {"overwrite": True},
            "Apply the slider": {"strength": strength},
        }
        (picture,) = studio.draw(workflow("slider", material.plain_text(), values))
        panels.append(Panel(picture, [f"strength {strength:g}"]))
    return [Panel(open_photo(young), ["less of it"]), Panel(open_photo(old), ["more of it"]), *panels]


def schedule(studio: Studio) -> Sequence[Panel]:
    """The person throughout, and in half of the steps."""
    panels = [_photo(examples.ONE)]
    for said, points in material.CURVES.items():
        values = {
            "HyperLoRA Load Identity": {"identity_name": material.kept(studio, examples.ONE)},
            "HyperLoRA Schedule": {"points": points},
        }
        (picture,) = studio.draw(workflow("schedule", material.plain_text(), values))
        panels.append(Panel(picture, [said]))
    return panels


def regions(studio: Studio) -> Sequence[Panel]:
    """Two people in one picture."""
    (picture,) = examples.drawn(studio, "people_regions")
    return [_photo(examples.ONE, "left"), _photo(examples.OTHER, "right"), Panel(picture, ["both, each in a half"])]


def refine(studio: Studio) -> Sequence[Panel]:
    """Strangers' faces drawn again as two people's."""
    (picture,) = examples.drawn(studio, "faces_refine")
    before = open_photo(material.two_strangers(0))
    people = [_photo(examples.ONE, "left"), _photo(examples.OTHER, "right")]
    return [*people, Panel(before, ["before"]), Panel(picture, ["after"])]


RESULTS: Mapping[str, Callable[[Studio], Sequence[Panel]]] = {
    "HyperLoRAPortrait": portrait,
    "HyperLoRAEncodeBase": base,
    "HyperLoRABlend": blend,
    "HyperLoRAGenerateSlider": slider,
    "HyperLoRASchedule": schedule,
    "HyperLoRAApplyRegions": regions,
    "HyperLoRARefineFaces": refine,
}
"""By the node whose page shows it."""


def drawn(studio: Studio, node: str) -> Image.Image:
    """The picture of a node's page."""
    return sheet(TITLE, RESULTS[node](studio), SIDE)


def main() -> None:
    """Draw all of them."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    log.setLevel(logging.INFO)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place, ComfyServer(Path(place), folders.models()) as server:
        studio = Studio(server, kept_pictures())
        for node in RESULTS:
            drawn(studio, node).save(FOLDER / f"{node}.webp", quality=85, method=6)
            log.info("web/docs/results/%s.webp", node)


if __name__ == "__main__":
    main()
