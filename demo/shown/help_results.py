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
from .studio import Studio, kept_pictures

FOLDER = PACK / "web" / "docs" / "results"
TITLE = "Drawn by the demo's small models, in a world of drawn people"
SIDE = 176

_SEED = 1

log = logging.getLogger("demo.shown")


def _photo(person: int, caption: str = "the photo") -> Panel:
    return Panel(open_photo(world.photo(person)), [caption])


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
    return [_photo(examples.AT_THE_BEACH)] + [
        Panel(
            material.simple(studio, examples.AT_THE_BEACH, world.told("photo of a person"), _SEED, base_weight=weight),
            [f"base_weight {weight:g}"],
        )
        for weight in (0.0, 0.5, 1.0)
    ]


def blend(studio: Studio) -> Sequence[Panel]:
    """From one person to another."""
    first, second = examples.ONE, examples.OTHER
    between = [
        Panel(material.blended(studio, first, second, amount), [f"amount {amount:g}"]) for amount in (0.0, 0.5, 1.0)
    ]
    return [_photo(first, "the one"), *between, _photo(second, "the other")]


def slider(studio: Studio) -> Sequence[Panel]:
    """Younger and older."""
    young, old = material.young_and_old()
    panels = [
        Panel(material.aged(studio, examples.ONE, strength), [f"strength {strength:g}"])
        for strength in (-1.0, 0.0, 1.0)
    ]
    return [Panel(open_photo(young), ["less of it"]), Panel(open_photo(old), ["more of it"]), *panels]


def schedule(studio: Studio) -> Sequence[Panel]:
    """The person throughout, and in half of the steps."""
    return [_photo(examples.ONE)] + [
        Panel(material.scheduled(studio, examples.ONE, points), [name]) for name, points in material.CURVES.items()
    ]


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
