"""The Markdown documents of the repository, read as GitHub reads them: headings, links and blocks of code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.server import PACK

_SKIPPED = {"build", "dist", "portraits"}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\]\([^)]*\))*\]\(([^)]*)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: its path in the repository.
        line: of its first fence, from 1.
        language: behind that fence.
        text: without the fences, and without the indentation of a list that it stands in.
    """

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents(root: Path = PACK) -> list[str]:
    """Every Markdown file of the repository, by its path in it."""
    paths = (path.relative_to(root) for path in root.rglob("*.md"))
    return sorted(
        path.as_posix()
        for path in paths
        if not any(part.startswith(".") or part in _SKIPPED or part.endswith(".egg-info") for part in path.parts[:-1])
    )


def read(document: str, root: Path = PACK) -> str:
    """A document's text."""
    return (root / document).read_text(encoding="utf-8")


def blocks(document: str, language: str = "", root: Path = PACK) -> list[Block]:
    """A document's fenced blocks, of one language or of all."""
    text = read(document, root)
    return [
        Block(document, text.count("\n", 0, match.start()) + 1, match[2], _without_indent(match[3], match[1]))
        for match in _FENCE.finditer(text)
        if language in ("", match[2])
    ]


def _without_indent(text: str, indent: str) -> str:
    return "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


def prose(document: str, root: Path = PACK) -> str:
    """A document's text without its fenced blocks."""
    return _FENCE.sub("", read(document, root))


def spans(document: str) -> list[str]:
    """What is marked as code within sentences; line breaks in it are blanks."""
    return [" ".join(span.split()) for span in _SPAN.findall(prose(document))]


def links(document: str, root: Path = PACK) -> list[str]:
    """The targets of a document's links and pictures."""
    return _LINK.findall(_SPAN.sub("`code`", prose(document, root)))


def anchors(document: str, root: Path = PACK) -> set[str]:
    """What a link may name in a document behind a ``#``: its headings, as GitHub shortens them."""
    counts: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(document, root), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = counts.get(slug, 0)
        counts[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def indented_code(document: str) -> Iterator[str]:
    """Lines that Markdown takes for code because they are indented: no fence says in which language."""
    before, in_list = "", False
    for line in prose(document).splitlines():
        if line.strip():
            in_list = bool(re.match(r" *([-*]|\d+\.) ", line)) or (in_list and line.startswith(" "))
            if line.startswith("    ") and not before.strip() and not in_list:
                yield line
        before = line
