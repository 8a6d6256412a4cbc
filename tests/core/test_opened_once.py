"""A model file is opened once, however many checks look at it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperlora_core import ClipVision, HyperLoRA, LoRA, cli, generate, load_identity, save_identity
from hyperlora_core.doctor.inspection import inspect
from hyperlora_core.files import SafetensorsFile, stored
from hyperlora_core.identity.slider import Slider
from hyperlora_core.network.conversion import convert
from tests.support.models import CLIP_VISION, HYPER_LORA


class Reads:
    """Counts how often each file's header is read, by this project and by safetensors' own reader."""

    def __init__(self, monkeypatch) -> None:
        self.headers, self.handles = Counter(), Counter()
        headers, handles, safe_open = self.headers, self.handles, stored.safe_open

        class Counted(SafetensorsFile):
            def __init__(self, path: Path, *args) -> None:
                headers[path.name] += 1
                super().__init__(path, *args)

        def counted_open(path: Path, *args, **kwargs) -> safe_open:
            handles[path.name] += 1
            return safe_open(path, *args, **kwargs)

        monkeypatch.setattr(stored, "SafetensorsFile", Counted)
        monkeypatch.setattr(stored, "safe_open", counted_open)

    def of(self, use: Callable[[], object]) -> tuple[dict[str, int], dict[str, int]]:
        """The two counts while something is done."""
        self.headers.clear()
        self.handles.clear()
        use()
        return dict(self.headers), dict(self.handles)


@pytest.fixture
def reads(monkeypatch) -> Reads:
    return Reads(monkeypatch)


def inspected(path: Path, full: bool = False) -> None:
    lines, whole = inspect(path, full)
    assert whole, lines


@pytest.mark.long
def test_the_files_of_a_hyperlora_are_opened_once(reads, models, tmp_path):
    folder = models / "hyper_lora" / HYPER_LORA
    once = {path.name: 1 for path in folder.glob("*.safetensors")}
    assert len(once) == 4
    assert reads.of(lambda: HyperLoRA.load(folder)) == (once, once)
    assert reads.of(lambda: inspected(folder)) == (once, {})
    assert reads.of(lambda: inspected(folder, full=True)) == (once, {})

    file = tmp_path / "one.safetensors"
    # what was written is read again, under its temporary name
    assert reads.of(lambda: convert(folder, file)) == (once | {".one.safetensors.part.safetensors": 1}, {})
    assert reads.of(lambda: cli.main(["convert", str(file), str(tmp_path / "back")]))[0] == once | {file.name: 1}
    assert reads.of(lambda: HyperLoRA.load(file)) == ({file.name: 1}, {file.name: 1})
    assert reads.of(lambda: inspected(file)) == ({file.name: 1}, {})
    assert reads.of(lambda: inspected(file, full=True)) == ({file.name: 1}, {})


def test_the_file_of_a_clip_is_opened_once(reads, models):
    file = models / "clip_vision" / CLIP_VISION
    once = {file.name: 1}
    assert reads.of(lambda: ClipVision.load(file)) == (once, once)
    assert reads.of(lambda: inspected(file)) == (once, once)


def test_the_files_of_people_are_opened_once(reads, people, network, tmp_path):
    identity = save_identity(people["obama"], tmp_path / "identity.safetensors")
    slider = Slider(((people["obama"], people["biden"]),)).save(tmp_path / "slider.safetensors")
    lora = generate(network, people["obama"]).save(tmp_path / "lora.safetensors")
    for path, load in ((identity, load_identity), (slider, Slider.load), (lora, LoRA.load)):
        once = {path.name: 1}
        assert reads.of(lambda load=load, path=path: load(path)) == (once, once)
        assert reads.of(lambda path=path: inspected(path)) == (once, once)
