"""Every link of every Markdown document leads somewhere."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from demo.server import PACK
from tests.documents import reading

DOCUMENTS = reading.documents()


def faults(document: str, root: Path = PACK) -> list[str]:
    """The links of a document that lead nowhere; of addresses outside, the form alone is looked at."""
    wrong = []
    for target in reading.links(document, root):
        address = urlsplit(target)
        if address.scheme:
            if address.scheme not in ("http", "https") or "." not in address.netloc or " " in target:
                wrong.append(target)
            continue
        path = (root / document).parent / unquote(address.path) if address.path else root / document
        if not _is_there(path, root):
            wrong.append(target)
        elif address.fragment:
            name = path.resolve().relative_to(root.resolve()).as_posix()
            if path.suffix != ".md" or address.fragment not in reading.anchors(name, root):
                wrong.append(target)
    return wrong


def _is_there(path: Path, root: Path) -> bool:
    """Whether a path exists in the repository, in the very case in which it is written."""
    path = path.resolve()
    inside = path.is_relative_to(root.resolve())
    return inside and path.exists() and (path == root.resolve() or path.name in {p.name for p in path.parent.iterdir()})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_what_is_there(document):
    assert faults(document) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_pictures_can_be_seen(document):
    for target in reading.links(document):
        path = (PACK / document).parent / target
        if path.suffix in (".jpg", ".png", ".webp"):
            assert min(Image.open(path).size) > 50, target


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").write_text(
        "# Here\n\n## `make it` run, twice\n\n## Here\n\n```sh\n# no heading\n```\n"
    )
    (tmp_path / "good.md").write_text(
        "# Top\n\n[a](docs/there.md) [b](docs/there.md#make-it-run-twice) [c](#top) [d](https://example.org/x?y#z)\n"
        "[e](docs/there.md#here-1) [f](docs) ![two\nlines](docs/there.md) `[no](link)`\n\n```text\n[no](link)\n```\n"
    )
    assert faults("good.md", tmp_path) == []
    bad = [
        "docs/gone.md",
        "docs/There.md",
        "docs/there.md#no-heading",
        "#nowhere",
        "https://",
        "../outside.md",
        "ftp://a.b/c",
    ]
    (tmp_path / "bad.md").write_text("# Top\n\n" + " ".join(f"[x]({target})" for target in bad))
    assert faults("bad.md", tmp_path) == bad


def test_every_help_page_and_document_can_be_reached_from_the_readme():
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        document = waiting.pop()
        for target in reading.links(document):
            path = (PACK / document).parent / target.partition("#")[0]
            if path.suffix == ".md" and "://" not in target:
                name = path.resolve().relative_to(PACK).as_posix()
                if name not in reached:
                    reached.add(name)
                    waiting.append(name)
    assert set(DOCUMENTS) - reached <= {"tests/core/golden/network/README.md", "tests/core/golden/preprocess/README.md"}
