"""The report's figures, of the pictures that measuring has kept and of what is measured."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from . import base_training
from .measured import Measured
from .measuring import PICTURES, RESULTS, people
from .readings import correlation, nrmse
from .runs import folder_of
from .targets import ALL_STRENGTHS
from .variants import full
from .world import IDENTITY

_STRENGTHS = (*ALL_STRENGTHS[1:], "id at 1.2")
_SIXTEENS = np.uint8(0xF0)  # sixteen shades a colour are a third of the bytes
_ZOOM, _MARGIN, _SHOWN = 3, 150, 9


def grid(measured: Measured, folder: Path = RESULTS) -> Path | None:
    """People, a column each: the reference, and what is drawn of it in several ways; None without pictures."""
    base, _, end = full(0)
    sources = {
        "no LoRA": (base_training.folder(), "none"),
        "told in words": (base_training.folder(), "words of the person"),
        "stage 1, Base": (folder_of(base), "base, unprompted"),
        "ID": (folder_of(end), "id"),
        "ID, 0.5": (folder_of(end), "id at 0.5"),
        "ID + Base": (folder_of(end), "id + base"),
        "ID + Base, no prompt": (folder_of(end), "id + base, unprompted"),
        "embedding off": (folder_of(end), "id, embedding off"),
    }
    references = people(_SHOWN).references[:, 0].permute(0, 2, 3, 1)
    rows = {"reference": (references * 255).round().byte().numpy()}
    for name, (where, way) in sources.items():
        path = where / PICTURES
        if path.exists():
            with np.load(path) as kept:
                rows[name] = kept[way][:_SHOWN]
    if len(rows) < len(sources):
        return None
    side = 32 * _ZOOM
    sheet = Image.new("RGB", (_MARGIN + _SHOWN * side, len(rows) * (side + 2)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, pictures) in enumerate(rows.items()):
        top = i * (side + 2)
        draw.text((4, top + side // 2 - 6), name, fill="black", font_size=13)
        for j, picture in enumerate(pictures):
            zoomed = Image.fromarray(picture & _SIXTEENS).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(zoomed, (_MARGIN + j * side, top))
    path = folder / "pictures.png"
    sheet.save(path, optimize=True)
    return path


def plots(measured: Measured, folder: Path = RESULTS) -> Path | None:
    """Losses over steps, error over strength, correlation of each parameter; None before the full recipe's end."""
    if not measured.seeds("full", "id_embed"):
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, strengths, bars) = pyplot.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for stage in ("base", "id_clip", "id_embed"):
        for seed in measured.seeds("full", stage):
            told = measured.legs[f"full-{stage}-{seed}"]["loss"]
            smooth = [np.mean(told[i : i + 5]) for i in range(max(len(told) - 4, 0))]
            colour = {"base": "C2", "id_clip": "C1", "id_embed": "C0"}[stage]
            label = {"base": "stage 1", "id_clip": "stage 2", "id_embed": "stage 3"}[stage] if seed == 0 else None
            losses.plot(20 * np.arange(len(smooth)), smooth, color=colour, label=label, linewidth=1)
    losses.set(xlabel="step", ylabel="loss", title="training, each seed")
    losses.legend(frameon=False)
    drawn = [measured.of_plain("none"), *[measured.of("full", "id_embed", name) for name in _STRENGTHS]]
    at = [0, 0.25, 0.5, 0.75, 1, 1.2]
    for group in ("all", "colour", "geometry"):
        numbers = [nrmse(each, measured.truth, group) for each in drawn]
        strengths.plot(at, [each.value for each in numbers], marker="o", markersize=3, label=group)
        strengths.fill_between(at, [each.low for each in numbers], [each.high for each in numbers], alpha=0.2)
    strengths.axhline(1, color="grey", linewidth=0.7, linestyle="--")
    strengths.set(xlabel="strength of the ID-LoRA", ylabel="NRMSE", title="error of the person drawn")
    strengths.legend(frameon=False)
    for i, (name, readings) in enumerate(
        {"no LoRA": measured.of_plain("none"), "ID": measured.of("full", "id_embed", "id")}.items()
    ):
        values = [correlation(readings, measured.truth, each) for each in IDENTITY]
        bars.bar(
            np.arange(len(IDENTITY)) + 0.4 * i - 0.2,
            [each.value for each in values],
            0.4,
            yerr=np.array([[each.value - each.low, each.high - each.value] for each in values]).T,
            error_kw={"linewidth": 0.8},
            label=name,
        )
    bars.set_xticks(range(len(IDENTITY)), IDENTITY, rotation=60, ha="right")
    bars.set(ylabel="correlation with the person", title="each parameter")
    bars.legend(frameon=False)
    path = folder / "plots.png"
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    return path
