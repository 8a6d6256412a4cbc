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


def page(folder: Path, evaluation: Evaluation) -> str:
    """The page, whole."""
    parts = (
        _head(evaluation),
        _said(evaluation),
        _table("Methods", main_table(evaluation.tables), _about_columns()),
        _plots(evaluation.tables),
        _paper(),
        _table("What each is drawn with", drawn_table(evaluation), ""),
        _differences(evaluation.tables),
        _sweeps(evaluation.tables),
        _speed(evaluation),
        _worst(folder / evaluation.folder, evaluation),
        _sheets(folder / evaluation.folder, evaluation),
        _failures(evaluation),
        _table("Made with", made_table(evaluation), ""),
    )
    return whole(f"Identity methods: {len(evaluation.tables.whole)} compared", "".join(parts), _STYLE)


def _head(evaluation: Evaluation) -> str:
    states = Counter(row.state for row in evaluation.pictures)
    cards = [
        (f"{len(evaluation.tables.whole)}", "methods"),
        (f"{len(evaluation.plan.people)}", "people"),
        (f"{states[DONE]:,}", "pictures"),
        (f"{states[FAILED]:,}", "failed"),
        (f"{states[MISSING]:,}", "not drawn yet"),
    ]
    html = "".join(f'<div class="card"><b>{text(number)}</b>{text(label)}</div>' for number, label in cards)
    about = text(sentence(evaluation))
    return f'<h1>Identity methods compared</h1><p class="dim">{about}</p><div class="cards">{html}</div>'


def _said(evaluation: Evaluation) -> str:
    lines = "".join(f"<p>{text(remark[:1].upper() + remark[1:])}.</p>" for remark in remarks(evaluation))
    return f'<h2>To be known first</h2><div class="said">{lines}</div>' if lines else ""


def _about_columns() -> str:
    return "".join(f"<p class=dim><b>{text(column.title)}</b>: {text(column.about)}.</p>" for column in COLUMNS)


def _plots(tables: Tables) -> str:
    drawn = []
    for column in COLUMNS:
        points = [(summary.variant.method.title, summary.cells[column.key]) for summary in tables.whole]
        measured = [(title, cell.mean, cell.low, cell.high) for title, cell in points if cell is not None]
        if measured:
            drawn.append(f'<div class="card"><h3>{text(column.title)}</h3>{dots(column.title, measured)}</div>')
    return f'<div class="plots">{"".join(drawn)}</div>'


def _differences(tables: Tables) -> str:
    lines = difference_table(tables)
    if not lines[1:]:
        return ""
    note = (
        "<p class=dim>Paired by person; signs of the differences are permuted. Corrected for as many methods as are "
        "compared (Holm).</p>"
    )
    return _table(f"Against {title_of(tables, tables.reference)}", lines, note)


def _sweeps(tables: Tables) -> str:
    parts = []
    for (slot, families), (_, lines) in zip(tables.frontiers().items(), sweep_tables(tables), strict=True):
        drawn = []
        for edit in ("clip_t_editable", "clip_i_edit_editable"):
            column = next(column for column in COLUMNS if column.key == edit)
            curves = {
                title_of(tables, family): [
                    (across.mean, up.mean, f"{summary.variant.value:g}")
                    for summary in summaries
                    if (across := summary.cells[edit]) is not None
                    and (up := summary.cells["id_sim_headshot"]) is not None
                ]
                for family, summaries in families.items()
            }
            title = f"ID Sim against {column.title}, by {slot}"
            drawn.append(
                f'<div class="card"><h3>{text(title)}</h3>{frontier(title, column.title, "ID Sim", curves)}</div>'
            )
        parts.append(_table(f"Sweep of {slot}", lines, f'<div class="plots">{"".join(drawn)}</div>'))
    return "".join(parts)


def _speed(evaluation: Evaluation) -> str:
    lines = speed_table(evaluation.tables)
    where = "; ".join(f"{url}: {host}" for url, host in evaluation.hosts.items())
    note = f"<p class=dim>{text(SPEED_NOTE)} Drawn by {text(where)}.</p>"
    own = _table("Seconds a picture", lines, note) if lines[1:] else ""
    return own + _table("Seconds, the paper's", paper_speed_table(), f"<p class=dim>{text(PAPER_NOTE)}</p>")


def _paper() -> str:
    return _table("The paper's table, quoted", paper_table(), f"<p class=dim>{text(PAPER_NOTE)}</p>")


def _worst(folder: Path, evaluation: Evaluation) -> str:
    parts = []
    for summary in evaluation.tables.whole:
        method = summary.variant.method
        for metric, group, heading in _WORST if method.identity else ():
            rows = _worst_first(evaluation.rows, method.name, metric, group)[:_WORST_SHOWN]
            if rows:
                title = f"{method.title}: {heading}"
                figures = "".join(_figure(folder, row, f"{row.person}: {row.prompt}, seed {row.seed}") for row in rows)
                parts.append(f'<p class="dim">{text(title)}</p><div {_scrolls("strip", title)}>{figures}</div>')
    return f"<h2>Worst cases first</h2>{''.join(parts)}" if parts else ""


def _worst_first(rows: Sequence[Row], method: str, metric: str, group: str) -> list[Row]:
    scored = [(getattr(row.scores, metric), row) for row in rows if (row.method, row.group) == (method, group)]
    entries = [(value, row.person, row.name, row.seed, row) for value, row in scored if value is not None]
    return [row for *_, row in sorted(entries, key=lambda entry: entry[:4])]


def _sheets(folder: Path, evaluation: Evaluation) -> str:
    """A strip for each method and each of some people, the least alike first: a photo, a picture of each prompt."""
    parts = []
    likeness: dict[str, list[float]] = {person.name: [] for person in evaluation.plan.people}
    for row in evaluation.rows:
        if row.scores.id_sim is not None:
            likeness[row.person].append(row.scores.id_sim)
    people = sorted(evaluation.plan.people, key=lambda person: (fmean(likeness[person.name] or [1.0]), person.name))
    for person in people[:_PEOPLE_SHOWN]:
        parts.append(f"<h3>{text(person.name)}</h3>")
        for summary in evaluation.tables.whole:
            method = summary.variant.method
            rows = [row for row in evaluation.rows if row.method == method.name and row.person == person.name]
            if not method.identity and person is not people[0]:
                continue
            figures = "".join(_figure(folder, row, f"{row.prompt}, seed {row.seed}") for row in rows)
            caption = "The photo that is given" if method.photos else "A photo of the person"
            photo = _photo(person.photos[0], caption) if method.identity else ""
            parts.append(
                f'<p class="dim">{text(method.title)}</p><div {_scrolls("strip", method.title)}>{photo}{figures}</div>'
            )
    others = len(evaluation.plan.people) - _PEOPLE_SHOWN
    note = f"<p class=dim>And {others} more people, whose pictures lie beside this page.</p>" if others > 0 else ""
    return f"<h2>Contact sheets</h2>{''.join(parts)}{note}"


def _figure(folder: Path, row: Row, label: str) -> str:
    numbers = [
        f"{name} {value:.2f}"
        for name, value in (("ID", row.scores.id_sim), ("CLIP-T", row.scores.clip_t), ("edit", row.scores.clip_i_edit))
        if value is not None
    ]
    caption = f"<figcaption>{text(label)}<br>{text(', '.join(numbers))}</figcaption>"
    thumb = _thumb(folder / row.picture) if row.picture and row.state == DONE else ""
    if not thumb:
        return f'<figure><div class="none">{text(row.error or "not drawn")}</div>{caption}</figure>'
    return f'<figure><img alt="{text(label)}" src="{thumb}">{caption}</figure>'


def _photo(path: Path, label: str) -> str:
    thumb = _thumb(path)
    return (
        f'<figure><img alt="{text(label)}" src="{thumb}"><figcaption>{text(label)}</figcaption></figure>'
        if thumb
        else ""
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


def _failures(evaluation: Evaluation) -> str:
    lines = failure_table(evaluation)
    if not lines[1:]:
        return ""
    others = len(lines) - 1 - _FAILURES_SHOWN
    note = f"<p class=dim>And {others} more, in pictures.csv.</p>" if others > 0 else ""
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


def _scrolls(kind: str, label: str) -> str:
    """What scrolls sideways is to be reached by keys too."""
    return f'class="{kind}" tabindex="0" role="region" aria-label="{text(label)}"'


def _html_cell(cell: str, number: bool) -> str:
    if not number:
        return f"<td>{text(cell)}</td>"
    mean, bracket, interval = cell.partition(" [")
    below = f"<small>{text(interval.rstrip(']').replace(', ', ' to '))}</small>" if bracket else ""
    return f'<td class="n">{text(mean)}{below}</td>'


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-")[:1].isdigit()
