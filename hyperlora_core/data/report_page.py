"""The report as a page: HTML with its style, drawings and pictures in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..files import atomic
from ..html_page import text, whole
from .checks import ACCEPTED, REASONS
from .near_pairs import COSINE_EDGES
from .report import EDGES, Gathered
from .shards import DatasetInfo

FILE = "report.html"

_TITLES = {
    "face": ("Face, pixels", "min_face", 1),
    "share": ("Part of the picture that the face takes", "min_face_share", 1),
    "score": ("Detector's score", "min_score", 1),
    "yaw": ("Yaw, degrees", "max_yaw", 2),
    "pitch": ("Pitch, degrees", "max_pitch", 2),
    "roll": ("Roll, degrees", "max_roll", 2),
    "sharpness": ("Sharpness of the face", "min_sharpness", 1),
    "side": ("Picture's shorter side, pixels", "min_side", 1),
}
"""Measure -> title, the limit that is drawn, and on how many sides of 0."""

_WIDTH, _HEIGHT, _FOOT = 320, 110, 16
_MOST_LICENCES, _MOST_BARS = 20, 12

_STYLE = """
td.bar { width: 30%; } .bar i { display: block; height: 12px; margin-top: 5px; border-radius: 3px; min-width: 2px;
  background: var(--gone); } .bar i.kept { background: var(--kept); }
.reason { margin-top: 16px; } .key span { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin: 0 5px 0 12px; background: var(--gone); } .key span.kept { background: var(--kept); margin-left: 0; }
"""


def write(path: Path, gathered: Gathered, info: DatasetInfo) -> None:
    """Write the report: one file that needs nothing else.

    Raises:
        HyperLoRAError: it cannot be written.
    """
    atomic.write_text(path, page(gathered, info))


def page(gathered: Gathered, info: DatasetInfo) -> str:
    """The page, whole."""
    body = "".join(
        (
            _head(gathered, info),
            _reasons(gathered),
            _measures(gathered, info),
            _likeness(gathered, info),
            _people(gathered),
            _licences(gathered),
            _sheets(gathered),
            _settings(info),
        )
    )
    return whole(f"Training set: {gathered.kept} pictures", body, _STYLE)


def _head(gathered: Gathered, info: DatasetInfo) -> str:
    people = sum(gathered.people.values())
    share = f"{gathered.kept / gathered.pictures:.1%}" if gathered.pictures else "0 %"
    cards = [
        (f"{gathered.pictures:,}", "pictures looked at"),
        (f"{gathered.kept:,}", f"kept ({share})"),
        (f"{people:,}" if people else "none", "people known by name"),
        (f"{gathered.captioned:,}", "kept ones that came with a caption"),
    ]
    html = "".join(f'<div class="card"><b>{text(number)}</b>{text(label)}</div>' for number, label in cards)
    captions = f"Captions that were missing are by {text(info.captioner)}. " if info.captioner else ""
    return (
        f'<h1>Training set</h1><p class="dim">Face embeddings by {text(info.face_encoder.name)}. {captions}'
        "This page shows faces of people, and so does the set: treat both as personal data.</p>"
        f'<div class="cards">{html}</div>'
    )


def _reasons(gathered: Gathered) -> str:
    most = max(gathered.counts.values(), default=1)
    lines = []
    for reason, count in sorted(gathered.counts.items(), key=lambda entry: (entry[0] != ACCEPTED, -entry[1])):
        accepted = reason == ACCEPTED
        label = (
            "<b>kept</b>" if accepted else f"<b>{text(reason)}</b><br><span class=dim>{text(REASONS[reason])}</span>"
        )
        lines.append(_row(label, count, count / most, accepted))
    return f"<h2>What became of the pictures</h2><table>{''.join(lines)}</table>"


def _row(label: str, count: int, share: float, accepted: bool = True) -> str:
    bar = f'<i{" class=kept" if accepted else ""} style="width:{100 * share:.2f}%"></i>'
    return f'<tr><td>{label}</td><td class="n">{count:,}</td><td class="bar">{bar}</td></tr>'


def _measures(gathered: Gathered, info: DatasetInfo) -> str:
    limits: Mapping[str, float] = info.settings.get("limits", {})
    plots = []
    for name, (title, limit, sides) in _TITLES.items():
        at = limits.get(limit)
        marks = [] if at is None else ([at] if sides == 1 else [-at, at])
        if name == "share" and "max_face_share" in limits:
            marks.append(limits["max_face_share"])
        plots.append(_plot(title, EDGES[name], gathered.measures[name], marks))
    return (
        '<h2>Measures</h2><p class="key dim"><span class="kept"></span>kept<span></span>rejected; dashed: limits. '
        "Of pictures on which one face was found; the last bar has all beyond.</p>"
        f'<div class="plots">{"".join(plots)}</div>'
    )


def _likeness(gathered: Gathered, info: DatasetInfo) -> str:
    near = info.settings.get("duplicates", {})
    marks = [near["cosine"]] if "cosine" in near else []
    none = np.zeros_like(gathered.same_person_cosines)
    plots = [
        _plot("Photos of one person", COSINE_EDGES, np.stack([gathered.same_person_cosines, none]), []),
        _plot("Photos of others, or of unknown people", COSINE_EDGES, np.stack([gathered.other_cosines, none]), []),
        _plot("Pictures with near hashes", COSINE_EDGES, np.stack([none, gathered.near_cosines]), marks),
    ]
    return (
        '<h2>Likeness of faces</h2><p class="dim">Cosines of the face embeddings of two pictures, of a part of the '
        "set. Above the dashed line, pictures with near hashes are duplicates. A second heap to the right among "
        "photos of others says that one person stands under several names; low cosines among photos of one person, "
        f'that a name stands for several people.</p><div class="plots">{"".join(plots)}</div>'
    )


def _plot(title: str, edges: np.ndarray, counts: np.ndarray, marks: Sequence[float]) -> str:
    """Bars of kept pictures, and on them those of rejected ones."""
    most = max(1, int(counts.sum(axis=0).max()))
    low, high, step = float(edges[0]), float(edges[-1]), _WIDTH / (len(edges) - 1)

    def across(value: float) -> float:
        return (min(max(value, low), high) - low) / (high - low) * _WIDTH

    drawn = [f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}" stroke="var(--line)"/>']
    for place, (accepted, rejected) in enumerate(counts.T):
        foot = float(_HEIGHT)
        for count, colour in ((accepted, "kept"), (rejected, "gone")):
            if count:
                height = max(1.5, (_HEIGHT - 14) * float(count) / most)
                foot -= height
                drawn.append(
                    f'<rect x="{place * step + 0.5:.1f}" y="{foot:.1f}" width="{step - 1:.1f}" height="{height:.1f}" '
                    f'fill="var(--{colour})"/>'
                )
    for mark in marks:
        drawn.append(
            f'<line x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="12" y2="{_HEIGHT}" stroke="var(--ink)" '
            'stroke-dasharray="3 3"/>'
        )
    for value, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end")):
        drawn.append(f'<text x="{across(value):.1f}" y="{_HEIGHT + 13}" text-anchor="{anchor}">{value:g}</text>')
    drawn.append(f'<text x="{_WIDTH}" y="10" text-anchor="end">highest bar: {int(counts.sum(axis=0).max()):,}</text>')
    return (
        f'<div class="card"><h3>{text(title)}</h3><svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" '
        f'aria-label="{text(title)}">{"".join(drawn)}</svg></div>'
    )


def _people(gathered: Gathered) -> str:
    if not gathered.people:
        return (
            '<h2>People</h2><p class="dim">Nobody is known by name: each picture stands for itself. Folders named for '
            "people (--person-folders), or <code>person</code> in the notes, would say who is on several.</p>"
        )
    most = max(gathered.people.values())
    items = list(gathered.people.items())
    bars = items[: _MOST_BARS - 1] if len(items) > _MOST_BARS else items
    lines = [_row(f"{photos} photo{'s' if photos > 1 else ''}", people, people / most) for photos, people in bars]
    if len(bars) < len(items):
        rest = sum(people for _, people in items[len(bars) :])
        lines.append(_row(f"{items[len(bars)][0]} to {items[-1][0]} photos", rest, min(1, rest / most)))
    alone = gathered.people.get(1, 0)
    advice = f"<p class=dim>{alone:,} have a single photo.</p>" if alone else ""
    return f"<h2>People and their photos</h2>{advice}<table>{''.join(lines)}</table>"


def _licences(gathered: Gathered) -> str:
    items = list(gathered.licences.items())
    most = max(gathered.licences.values(), default=1)
    lines = [_row(text(name), count, count / most) for name, count in items[:_MOST_LICENCES]]
    if len(items) > _MOST_LICENCES:
        others = sum(count for _, count in items[_MOST_LICENCES:])
        lines.append(_row(f"{len(items) - _MOST_LICENCES} others", others, min(1, others / most)))
    return f"<h2>Licences of kept pictures</h2><table>{''.join(lines)}</table>"


def _sheets(gathered: Gathered) -> str:
    parts = ["<h2>Kept, some</h2>", _sheet(gathered.thumbs.get(ACCEPTED, []), "kept")]
    rejected = [reason for reason in REASONS if gathered.counts.get(reason)]
    if rejected:
        parts.append("<h2>Rejected, some</h2>")
    for reason in rejected:
        thumbs = gathered.thumbs.get(reason, [])
        count = gathered.counts[reason]
        parts.append(
            f'<div class="reason"><h3>{text(reason)} <span class="dim">({count:,}): {text(REASONS[reason])}'
            f"</span></h3>{_sheet(thumbs, reason)}</div>"
        )
    return "".join(parts)


def _sheet(pictures: Sequence[str], alt: str) -> str:
    if not pictures:
        return '<p class="dim">There is nothing to be shown.</p>'
    images = "".join(f'<img alt="{text(alt)}" src="data:image/jpeg;base64,{picture}">' for picture in pictures)
    return f'<div class="sheet">{images}</div>'


def _settings(info: DatasetInfo) -> str:
    lines = []
    for name, value in info.settings.items():
        if name not in ("counts", "licences"):
            cell = (
                ", ".join(f"{key} {setting}" for key, setting in value.items()) if isinstance(value, Mapping) else value
            )
            cell = ", ".join(map(str, cell)) if isinstance(cell, list) else cell
            lines.append(f"<tr><td>{text(name)}</td><td>{text(cell)}</td></tr>")
    return f"<h2>Made with</h2><table>{''.join(lines)}</table>"
