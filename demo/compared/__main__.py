"""``python -m demo.compared``: draw people who no training saw by each way, judge, and write docs/example_report."""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from demo import face_pack
from demo.cache import cache_dir
from demo.server import PACK, ComfyServer
from demo.shown import world
from demo.shown.rows import name_of
from demo.shown.studio import SAMPLING, SIZE
from demo.trained import folders
from hyperlora_core.evaluation.methods import BASELINE
from hyperlora_core.files import atomic

from . import embedder, loras, tower

PEOPLE, HELD_OUT = 10, 2
REPORT = PACK / "docs" / "example_report"
PROMPTS = {
    "headshot": ["photo of a person, grey background"],
    "editable": [
        "photo of a person, long ginger hair",
        "photo of a person, short black hair",
        "photo of a person, wearing wolf ears",
        "photo of a person, wearing glasses",
        "photo of a person, wearing a hat",
        "photo of a person, wearing a white shirt",
        "photo of a person, wearing a red hoodie",
        "photo of a person, smiling",
        "photo of a person, at the beach",
        "photo of a person, in a city at night",
    ],
    "style": ["pencil sketch of a person", "comic of a person"],
}
_FILES = ("report.html", "report.md", "summary.csv", "protocol.json")


def protocol() -> dict[str, object]:
    """What is the same for every way, in words that the small world knows."""
    prompts = [
        {"name": text.partition("a person")[2].lstrip(", ") or text.partition(" of")[0], "text": text, "group": group}
        for group, texts in PROMPTS.items()
        for text in texts
    ]
    return {
        "checkpoint": folders.CHECKPOINT,
        "prompts": prompts,
        "negative": "",
        "headshots": [1, 2],
        "steps": SAMPLING["steps"],
        "sampler": SAMPLING["sampler_name"],
        "scheduler": SAMPLING["scheduler"],
        "width": SIZE,
        "height": SIZE,
    }


def people(count: int, into: Path) -> Path:
    """A folder a person: the photo that is given, and those that no way has."""
    for person in range(count):
        for number in range(1 + HELD_OUT):
            photo = world.photo(person, number)
            place = into / "people" / name_of(person) / photo.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, place)
    return into / "people"


WAYS: Mapping[str, Mapping[str, object]] = {
    "hyperlora-id": {"model": folders.HYPER_LORA, "weight": 1.0},
    "hyperlora-full": {"model": folders.HYPER_LORA, "weight": 1.0, "base_weight": 0.4},
    BASELINE: {},
    "trained-lora": {"prompt": f"{loras.WORD}, {{prompt}}"},
}
"""What is compared, and with which settings beside CFG."""


def words(
    into: Path, who: Path, server: str, protocol_json: Mapping[str, object], clip: Path, ways: Iterable[str] = WAYS
) -> list[str]:
    """The arguments of ``hyperlora evaluate``.

    Args:
        into: a folder for all that is made.
        who: the folder of people.
        server: ComfyUI's address.
        protocol_json: the protocol, as its file has it.
        clip: the folder of the CLIP that judges.
        ways: some of ``WAYS``.
    """
    file = into / "told.json"
    atomic.write_text(file, json.dumps(protocol_json, indent=1))
    # the baseline is drawn at each way's own CFG
    values = {way: dict(WAYS[way]) if way == BASELINE else {**WAYS[way], "cfg": SAMPLING["cfg"]} for way in ways}
    return [
        *("evaluate", str(who), "--out", str(into / "evaluation"), "--server", server, "--protocol", str(file)),
        *("--clip", str(clip), "--faces", str(face_pack.face_pack())),
        *("--id-model", str(embedder.embedder()), "--methods", ",".join(values)),
        *(f"--set={way}.{slot}={value}" for way, slots in values.items() for slot, value in slots.items()),
    ]


def main() -> None:
    """The command; it goes on where it was stopped."""
    parser = argparse.ArgumentParser(prog="python -m demo.compared", description=__doc__)
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many (%(default)s); others write no report")
    args = parser.parse_args()
    work = cache_dir() / f"compared-{folders.models().name}"
    who = people(args.people, work / str(args.people))
    wide = [loras.train(person, work / "loras") for person in range(args.people)]
    clip = tower.folder()
    with tempfile.TemporaryDirectory() as base:
        models = Path(base) / "models"
        shutil.copytree(folders.models(), models, symlinks=True)
        (models / "loras").mkdir()
        for path in wide:
            (models / "loras" / path.name).symlink_to(path)
        with ComfyServer(Path(base) / "server", models) as server:
            arguments = words(who.parent, who, server.url, protocol(), clip)
            command = [sys.executable, "-m", "hyperlora_core.cli", *arguments]
            subprocess.run(command, check=True)
    if args.people == PEOPLE:
        REPORT.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            shutil.copy(who.parent / "evaluation" / name, REPORT)
        report = REPORT / "report.md"
        title, _, text = report.read_text(encoding="utf-8").partition("\n")
        report.write_text(f"{title}\n\nWritten by `make demo-report`.\n{text}", encoding="utf-8")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
