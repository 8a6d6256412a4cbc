"""The report as a page: tables, plots, the worst cases first, contact sheets with prompts and seeds."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from PIL import Image

from ..errors import HyperLoRAError
from ..files.photos import open_photo
from ..html_page import text, whole
from .lines import (
    difference_table,
    drawn_table,
    failure_table,
    made_table,
    main_table,
    paper_speed_table,
    paper_table,
    remarks,
    sentence,
    speed_table,
    sweep_tables,
    title_of,
)
from .plots import dots, frontier
from .protocol import EDITABLE, HEADSHOT
from .scoring import DONE, FAILED, MISSING, Row
from .tables import COLUMNS, PAPER_NOTE, SPEED_NOTE, Evaluation, Tables

_PEOPLE_SHOWN, _WORST_SHOWN, _FAILURES_SHOWN = 8, 8, 40
_THUMB = 144  # pixels of a side
_QUALITY = 80
_COLUMN = 110  # pixels that a table's column has at least, the mean of them

_WORST = (
    ("id_sim", HEADSHOT, "the headshots least like the person"),
    ("clip_t", EDITABLE, "the pictures least like their prompts"),
    ("clip_i_edit", EDITABLE, "the pictures that the person changed most"),
)
"""A metric, of which prompts, and how the strip is called."""

_STYLE = """
body { max-width: 1280px; } .wide { overflow-x: auto; overflow-wrap: normal; margin-bottom: 12px; }
th { text-align: left; font-weight: 600; padding: 5px 8px 5px 0; vertical-align: bottom; }
th.n { text-align: right; } td.n { width: auto; } td.n small { display: block; color: var(--dim); font-size: 11px; }
.said { border-left: 3px solid var(--gone); padding-left: 10px; }
.plots { grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); }
.strip { display: flex; gap: 8px; overflow-x: auto; padding-bottom: 6px; margin-bottom: 10px; }
figure { margin: 0; flex: 0 0 112px; width: 112px; } figure img { width: 112px; height: 112px; object-fit: contain;
  background: var(--card); border-radius: 6px; display: block; } figcaption { font-size: 11px; line-height: 1.3;
  color: var(--dim); margin-top: 3px; } .none { width: 112px; height: 112px; border: 1px dashed var(--gone);
  border-radius: 6px; font-size: 11px; padding: 6px; overflow: hidden; color: var(--gone); }
"""


def page(folder: Path, found: Evaluation) -> str:
    """The page, whole."""
    parts = (
        _head(found),
        _said(found),
        _table("Methods", main_table(found.tables), _about_columns()),
        _plots(found.tables),
        _paper(),
        _table("What each is drawn with", drawn_table(found), ""),
        _differences(found.tables),
        _sweeps(found.tables),
        _speed(found),
        _worst(folder / found.folder, found),
        _sheets(folder / found.folder, found),
        _failures(found),
        _table("Made with", made_table(found), ""),
    )
    return whole(f"Identity methods: {len(found.tables.whole)} compared", "".join(parts), _STYLE)


def _head(found: Evaluation) -> str:
    states = Counter(row.state for row in found.pictures)
    cards = [
        (f"{len(found.tables.whole)}", "methods"),
        (f"{len(found.plan.people)}", "people"),
        (f"{states[DONE]:,}", "pictures"),
        (f"{states[FAILED]:,}", "failed"),
        (f"{states[MISSING]:,}", "not drawn yet"),
    ]
    shown = "".join(f'<div class="card"><b>{text(number)}</b>{text(what)}</div>' for number, what in cards)
    return (
        f'<h1>Identity methods compared</h1><p class="dim">{text(sentence(found))}</p><div class="cards">{shown}</div>'
    )


def _said(found: Evaluation) -> str:
    lines = "".join(f"<p>{text(remark[:1].upper() + remark[1:])}.</p>" for remark in remarks(found))
    return f'<h2>To be known first</h2><div class="said">{lines}</div>' if lines else ""


def _about_columns() -> str:
    return "".join(f"<p class=dim><b>{text(column.title)}</b>: {text(column.about)}.</p>" for column in COLUMNS)


def _plots(found: Tables) -> str:
    drawn = []
    for column in COLUMNS:
        points = [(one.variant.method.title, one.cells[column.key]) for one in found.whole]
        shown = [(title, cell.mean, cell.low, cell.high) for title, cell in points if cell is not None]
        if shown:
            drawn.append(f'<div class="card"><h3>{text(column.title)}</h3>{dots(column.title, shown)}</div>')
    return f'<div class="plots">{"".join(drawn)}</div>'


def _differences(found: Tables) -> str:
    lines = difference_table(found)
    if not lines[1:]:
        return ""
    note = (
        "<p class=dim>Paired by person; signs of the differences are permuted. Corrected for as many methods as are "
        "compared (Holm).</p>"
    )
    return _table(f"Against {title_of(found, found.reference)}", lines, note)


def _sweeps(found: Tables) -> str:
    parts = []
    for (slot, families), (_, lines) in zip(found.frontiers().items(), sweep_tables(found), strict=True):
        drawn = []
        for edit in ("clip_t_editable", "clip_i_edit_editable"):
            column = next(column for column in COLUMNS if column.key == edit)
            curves = {
                title_of(found, family): [
                    (across.mean, up.mean, f"{one.variant.value:g}")
                    for one in some
                    if (across := one.cells[edit]) is not None and (up := one.cells["id_sim_headshot"]) is not None
                ]
                for family, some in families.items()
            }
            title = f"ID Sim against {column.title}, by {slot}"
            drawn.append(
                f'<div class="card"><h3>{text(title)}</h3>{frontier(title, column.title, "ID Sim", curves)}</div>'
            )
        parts.append(_table(f"Sweep of {slot}", lines, f'<div class="plots">{"".join(drawn)}</div>'))
    return "".join(parts)


def _speed(found: Evaluation) -> str:
    lines = speed_table(found.tables)
    where = "; ".join(f"{url}: {host}" for url, host in found.hosts.items())
    note = f"<p class=dim>{text(SPEED_NOTE)} Drawn by {text(where)}.</p>"
    own = _table("Seconds a picture", lines, note) if lines[1:] else ""
    return own + _table("Seconds, the paper's", paper_speed_table(), f"<p class=dim>{text(PAPER_NOTE)}</p>")


def _paper() -> str:
    return _table("The paper's table, quoted", paper_table(), f"<p class=dim>{text(PAPER_NOTE)}</p>")


def _worst(folder: Path, found: Evaluation) -> str:
    parts = []
    for summary in found.tables.whole:
        method = summary.variant.method
        for metric, group, what in _WORST if method.identity else ():
            rows = _worst_first(found.rows, method.name, metric, group)[:_WORST_SHOWN]
            if rows:
                title = f"{method.title}: {what}"
                shown = "".join(_figure(folder, row, f"{row.person}: {row.prompt}, seed {row.seed}") for row in rows)
                parts.append(f'<p class="dim">{text(title)}</p><div {_scrolls("strip", title)}>{shown}</div>')
    return f"<h2>Worst cases first</h2>{''.join(parts)}" if parts else ""


def _worst_first(rows: Sequence[Row], method: str, metric: str, group: str) -> list[Row]:
    scored = [(getattr(row.scores, metric), row) for row in rows if (row.method, row.group) == (method, group)]
    some = [(value, row.person, row.name, row.seed, row) for value, row in scored if value is not None]
    return [row for *_, row in sorted(some, key=lambda one: one[:4])]


def _sheets(folder: Path, found: Evaluation) -> str:
    """A strip for each method and each of some people, the least alike first: a photo, a picture of each prompt."""
    parts = []
    likeness: dict[str, list[float]] = {person.name: [] for person in found.plan.people}
    for row in found.rows:
        if row.scores.id_sim is not None:
            likeness[row.person].append(row.scores.id_sim)
    people = sorted(found.plan.people, key=lambda person: (fmean(likeness[person.name] or [1.0]), person.name))
    for person in people[:_PEOPLE_SHOWN]:
        parts.append(f"<h3>{text(person.name)}</h3>")
        for summary in found.tables.whole:
            method = summary.variant.method
            rows = [row for row in found.rows if row.method == method.name and row.person == person.name]
            if not method.identity and person is not people[0]:
                continue
            shown = "".join(_figure(folder, row, f"{row.prompt}, seed {row.seed}") for row in rows)
            said = "The photo that is given" if method.photos else "A photo of the person"
            given = _photo(person.photos[0], said) if method.identity else ""
            parts.append(
                f'<p class="dim">{text(method.title)}</p><div {_scrolls("strip", method.title)}>{given}{shown}</div>'
            )
    rest = len(found.plan.people) - _PEOPLE_SHOWN
    note = f"<p class=dim>And {rest} more people, whose pictures lie beside this page.</p>" if rest > 0 else ""
    return f"<h2>Contact sheets</h2>{''.join(parts)}{note}"


def _figure(folder: Path, row: Row, said: str) -> str:
    numbers = [
        f"{name} {value:.2f}"
        for name, value in (("ID", row.scores.id_sim), ("CLIP-T", row.scores.clip_t), ("edit", row.scores.clip_i_edit))
        if value is not None
    ]
    caption = f"<figcaption>{text(said)}<br>{text(', '.join(numbers))}</figcaption>"
    thumb = _thumb(folder / row.picture) if row.picture and row.state == DONE else ""
    if not thumb:
        return f'<figure><div class="none">{text(row.error or "not drawn")}</div>{caption}</figure>'
    return f'<figure><img alt="{text(said)}" src="{thumb}">{caption}</figure>'


def _photo(path: Path, said: str) -> str:
    thumb = _thumb(path)
    return (
        f'<figure><img alt="{text(said)}" src="{thumb}"><figcaption>{text(said)}</figcaption></figure>' if thumb else ""
    )


def _thumb(path: Path) -> str:
    try:
        picture = open_photo(path)
    except HyperLoRAError:
        return ""
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=_QUALITY, method=6)  # half of a JPEG's bytes, and every browser reads it
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def _failures(found: Evaluation) -> str:
    lines = failure_table(found)
    if not lines[1:]:
        return ""
    rest = len(lines) - 1 - _FAILURES_SHOWN
    note = f"<p class=dim>And {rest} more, in pictures.csv.</p>" if rest > 0 else ""
    return _table("Failures", lines[: _FAILURES_SHOWN + 1], note)


def _table(title: str, lines: Sequence[Sequence[str]], note: str) -> str:
    numeric = [all(_is_number(line[place]) for line in lines[1:]) for place in range(len(lines[0]))]
    head = "".join(
        f"<th scope=col{' class=n' if number else ''}>{text(cell)}</th>"
        for cell, number in zip(lines[0], numeric, strict=True)
    )
    rows = []
    for line in lines[1:]:
        cells = "".join(_html_cell(cell, number) for cell, number in zip(line, numeric, strict=True))
        rows.append(f"<tr>{cells}</tr>")
    table = f'<table style="min-width: {_COLUMN * len(lines[0])}px"><tr>{head}</tr>{"".join(rows)}</table>'
    return f"<h2>{text(title)}</h2><div {_scrolls('wide', title)}>{table}</div>{note}"


def _scrolls(kind: str, what: str) -> str:
    """What scrolls sideways is to be reached by keys too."""
    return f'class="{kind}" tabindex="0" role="region" aria-label="{text(what)}"'


def _html_cell(cell: str, number: bool) -> str:
    if not number:
        return f"<td>{text(cell)}</td>"
    mean, bracket, interval = cell.partition(" [")
    below = f"<small>{text(interval.rstrip(']').replace(', ', ' to '))}</small>" if bracket else ""
    return f'<td class="n">{text(mean)}{below}</td>'


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-")[:1].isdigit()
