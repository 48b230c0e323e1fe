"""Figures from raw rows and portraits, in the manner of the paper's figures 4 to 7: SVG, readable in black and white.

Needs matplotlib. Every line differs by dash and by marker as well as by colour, wrong labels are hatched, and the
ground is white whatever the page's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from core.fileio import replacing
from scripts.benchmarks import evidence
from scripts.benchmarks.portrait import METRICS, Histogram, Mixture, Portrait
from scripts.benchmarks.report_finding import detector_title
from scripts.benchmarks.rows import Row
from scripts.benchmarks.standing import BASE, CLEAN, DEFAULT, of
from scripts.benchmarks.tables import answered, courses, grouped, method_title, noise_title, noises_of

INK, SOFT, LINE = "#17252c", "#4a5a63", "#cfd4cd"
RIGHT = "#b9c6c4"
TEAL, OCHRE, PLUM, BRICK = "#0b5a66", "#b06f00", "#8a4a8d", "#9c2f1f"
STYLES = (
    {"color": TEAL, "linestyle": "-", "marker": "o", "linewidth": 2.0},
    {"color": OCHRE, "linestyle": "--", "marker": "s", "linewidth": 1.5},
    {"color": PLUM, "linestyle": "-.", "marker": "^", "linewidth": 1.5},
    {"color": BRICK, "linestyle": ":", "marker": "D", "linewidth": 1.8},
    {"color": SOFT, "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v", "linewidth": 1.3},
    {"color": INK, "linestyle": (0, (1, 3)), "marker": "x", "linewidth": 1.3},
)
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "miracl",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
}
TITLES = {"loss": "BCE loss", "rank": "rank", "difficulty": "difficulty", "score": "score Z̃"}
HEADROOM = 1.35
"""Room above the bars for the partition's names."""

NARROW = 0.1
"""A part of the score too narrow for its name."""

CLASSES = {"positive": "recorded present", "negative": "recorded absent"}
NOISES = ("sym20", "sym40", "bal20")
"""Panels of the figures that have one per noise."""

DETECTORS = ((DEFAULT, "error_probability"), (BASE, "aum"), (BASE, "confident_learning"), (BASE, "loss"),
             ("miracl", "miracl_score"), (BASE, "linc"))  # fmt: skip
COURSES = (DEFAULT, "miracl", "paper", "bce_regularised", BASE)


def write_figures(
    tables: Mapping[str, Sequence[Row]], out: Path, portraits: Sequence[Portrait] = ()
) -> dict[Path, str]:
    """Draw what the rows and portraits allow, as SVG files in a folder; what was written, each with its caption."""
    out.mkdir(parents=True, exist_ok=True)
    robustness, detection, repair, charts = (
        next(iter(courses(tables.get(name, [])).values()), [])
        for name in ("robustness", "detection", "repair", evidence.TABLE)
    )
    drawn: dict[str, tuple[Figure | None, str]] = {}
    with rc_context(SETTINGS):
        for portrait in portraits:
            name = f"{portrait.method}_{portrait.noise}"
            of_run = f"{method_title(portrait.method)}, {noise_title(portrait.noise)}, seed {portrait.seed}"
            drawn[f"distributions_{name}"] = distributions(portrait), f"What pairs score at the end: {of_run}"
            drawn[f"metric_courses_{name}"] = metric_courses(portrait), f"Means by epoch: {of_run}"
            drawn[f"mixtures_{name}"] = mixtures(portrait), f"Scores of the rarest labels and their mixtures: {of_run}"
        drawn["map_by_epoch"] = map_by_epoch(robustness), "Test mAP by epoch, mean over seeds ± standard deviation"
        drawn["precision_recall"] = precision_recall(detection), "Precision of flags by the share of wrong labels found"
        drawn["repair"] = repair_curves(repair), "Errors removed by pairs read, in each order"
        drawn["evidence"] = (
            charts_say(charts),
            "Pairs that a finding in the chart speaks for, by what a method made of them",
        )
        there = {name: (figure, told) for name, (figure, told) in drawn.items() if figure is not None}
        return {save(figure, out / f"{name}.svg"): told for name, (figure, told) in there.items()}


def save(figure: Figure, target: Path) -> Path:
    """Write an SVG that is the same bytes for the same figure."""
    with replacing(target) as path, path.open("wb") as file:
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    target.chmod(0o644)
    return target


def distributions(portrait: Portrait) -> Figure:
    """Loss, rank, difficulty and score at the end of training, right and wrong labels apart (the paper's figure 5)."""
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    axes = figure.subplots(2, len(METRICS), sharex="col")
    for row, (observed_class, word) in enumerate(CLASSES.items()):
        for column, metric in enumerate(METRICS):
            ax = axes[row, column]
            for held in portrait.distributions:
                if (held.metric, held.observed_class) == (metric, observed_class) and held.n:
                    _bars(ax, held)
            ax.set_yticks([])
            ax.grid(visible=False)
            if row == 0:
                ax.set_title(TITLES[metric])
            if column == 0:
                ax.set_ylabel(f"{word}\nshare of pairs")
    _shared_legend(figure, (), columns=2, first=_patches())
    return figure


def _bars(ax: Axes, held: Histogram, scale: float = 1.0, base: np.ndarray | None = None) -> np.ndarray:
    """Right labels filled, wrong ones hatched with a dark outline; the tops, for what is put upon them."""
    edges = np.linspace(held.low, held.high, len(held.share) + 1)
    floor = np.zeros(len(held.share)) if base is None else base
    tops = floor + np.array(held.share) * scale
    if held.wrong:
        ax.stairs(tops, edges, baseline=floor, fill=True, facecolor="none", hatch="////", edgecolor=BRICK, linewidth=0)
        ax.stairs(tops, edges, baseline=floor, color=BRICK, linewidth=1.2 if base is None else 0.5)
    else:
        ax.stairs(tops, edges, baseline=floor, fill=True, color=RIGHT)
    return tops


def _patches() -> dict[str, Patch]:
    return {
        "label right": Patch(facecolor=RIGHT),
        "label wrong": Patch(facecolor="none", edgecolor=BRICK, hatch="//////"),
    }


def metric_courses(portrait: Portrait) -> Figure:
    """Mean loss, rank and difficulty by epoch (the paper's figure 6)."""
    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    axes = figure.subplots(1, 3)
    lines = [(c, w) for c in CLASSES for w in (False, True)]
    for ax, metric in zip(axes, METRICS, strict=False):
        for course in sorted(portrait.courses, key=lambda c: lines.index((c.observed_class, c.wrong))):
            if course.metric == metric:
                style = STYLES[lines.index((course.observed_class, course.wrong))]
                label = f"{CLASSES[course.observed_class]}, {'wrong' if course.wrong else 'right'}"
                _line(ax, np.arange(1, len(course.mean) + 1), course.mean, style, label)
        ax.set_title(TITLES[metric])
        ax.set_xlabel("epoch")
    _shared_legend(figure, axes, columns=4)
    return figure


def mixtures(portrait: Portrait) -> Figure | None:
    """Scores of the rarest labels, both components, and where the partition is cut (the paper's figure 7)."""
    labels = list(dict.fromkeys(mixture.label for mixture in portrait.mixtures))
    if not labels:
        return None
    figure = Figure(figsize=(2.1 * len(labels), 4.6), layout="constrained")
    axes = figure.subplots(2, len(labels), sharex=True, squeeze=False)
    for mixture in portrait.mixtures:
        row = list(CLASSES).index(mixture.observed_class)
        ax = axes[row, labels.index(mixture.label)]
        _mixture(ax, mixture)
        if row == 0:
            ax.set_title(_wrapped(mixture.label), fontsize=8)
        else:
            ax.set_xlabel("score Z̃")
    for row, word in enumerate(CLASSES.values()):
        axes[row, 0].set_ylabel(f"{word}\ndensity")
    _shared_legend(figure, axes.ravel(), columns=4, first=_patches())
    return figure


def _mixture(ax: Axes, mixture: Mixture) -> None:
    total = max(mixture.right.n + mixture.wrong.n, 1)
    width = (mixture.right.high - mixture.right.low) / len(mixture.right.share)
    ax.grid(visible=False)
    ax.set_yticks([])
    tops: np.ndarray | None = None
    for held in (mixture.right, mixture.wrong):
        if held.n:
            tops = _bars(ax, held, held.n / total / width, tops)
    highest = 1e-9 if tops is None else float(tops.max())
    if mixture.mean is None or mixture.sd is None or mixture.weight is None:
        ax.set_ylim(0, HEADROOM * highest)
        ax.text(0.5, 0.92, "left alone", transform=ax.transAxes, ha="center", fontsize=7.5, color=SOFT)
        return
    x = np.linspace(0, 1, 300)
    for k, (style, name) in enumerate((("-", "clean component"), ("--", "noisy component"))):
        z = (x - mixture.mean[k]) / mixture.sd[k]
        density = mixture.weight[k] / (mixture.sd[k] * np.sqrt(2 * np.pi)) * np.exp(-(z**2) / 2)
        highest = max(highest, float(density.max()))
        ax.plot(x, density, color=INK, linestyle=style, linewidth=1.2, label=name)
        ax.axvline(mixture.mean[k], color=TEAL, linestyle=style, linewidth=1.0)
    ax.set_ylim(0, HEADROOM * highest)
    low, high = mixture.mean
    for begin, end, word in ((0.0, low, "clean"), (low, high, "uncertain"), (high, 1.0, "noisy")):
        if end - begin < NARROW:
            continue
        ax.text(
            (begin + end) / 2, 0.985, word, transform=ax.get_xaxis_transform(), ha="center", va="top", fontsize=6.5,
            color=TEAL, rotation=90,
        )  # fmt: skip


def map_by_epoch(rows: Sequence[Row]) -> Figure | None:
    """Test mAP by epoch, mean over seeds with a band of one standard deviation (compare the paper's figure 4)."""
    noises = [n for n in NOISES if any(row["noise"] == n and row["map_by_epoch"] for row in rows)]
    if not noises:
        return None
    figure = Figure(figsize=(3.1 * len(noises), 3.3), layout="constrained")
    axes = figure.subplots(1, len(noises), sharey=True, squeeze=False)[0]
    clean = _epochs(of(rows, BASE, CLEAN))
    for ax, noise in zip(axes, noises, strict=True):
        for k, method in enumerate(COURSES):
            _band(ax, _epochs(of(rows, method, noise)), STYLES[k], method_title(method))
        _band(ax, clean, STYLES[len(COURSES)], "BCE trained on clean labels")
        ax.set_title(noise_title(noise))
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("test mAP")
    _shared_legend(figure, axes, columns=3)
    return figure


def _epochs(rows: Iterable[Row]) -> np.ndarray:
    """Curves of equal length, a row a seed."""
    curves = [row["map_by_epoch"] for row in rows if row["map_by_epoch"]]
    longest = max(map(len, curves), default=0)
    return np.array([curve for curve in curves if len(curve) == longest])


def _band(ax: Axes, curves: np.ndarray, style: Mapping[str, object], label: str) -> None:
    if not len(curves):
        return
    x, mean = np.arange(1, curves.shape[1] + 1), curves.mean(0)
    _line(ax, x, mean, style, label)
    if len(curves) > 1:
        spread = curves.std(0, ddof=1)
        ax.fill_between(x, mean - spread, mean + spread, color=str(style["color"]), alpha=0.13, linewidth=0)


def precision_recall(rows: Sequence[Row]) -> Figure | None:
    """Precision of flags by the share of wrong labels found, mean over seeds; dotted: picking at random."""
    told = [row for row in rows if row["precision_at_recall"] and row["n_wrong"]]
    noises = [n for n in noises_of(told) if n in ("sym20", "bal20")]
    if not noises:
        return None
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    panels = [(n, c) for n in noises for c in CLASSES]
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (noise, observed_class) in zip(axes, panels, strict=True):
        here = [row for row in told if (row["noise"], row["observed_class"]) == (noise, observed_class)]
        by_detector = grouped(here, lambda row: (row["method"], row["detector"]))
        for k, name in enumerate(DETECTORS):
            if name in by_detector:
                curve = np.mean([row["precision_at_recall"] for row in by_detector[name]], axis=0)
                _line(ax, np.arange(1, len(curve) + 1) / len(curve), curve, STYLES[k], detector_title(*name))
        if here:
            base = float(np.mean([row["n_wrong"] / row["n"] for row in here]))
            ax.axhline(base, color=SOFT, linestyle=(0, (1, 2)), linewidth=1, label="at random")
        ax.set_title(f"{noise_title(noise)}\n{CLASSES[observed_class]}")
        ax.set_xlabel("share found")
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1.02)
    axes[0].set_ylabel("precision of flags")
    _shared_legend(figure, axes, columns=3)
    return figure


def repair_curves(rows: Sequence[Row]) -> Figure | None:
    """Errors removed as pairs are read in each order, mean over seeds."""
    noises = noises_of(rows)
    if not noises:
        return None
    figure = Figure(figsize=(3.9 * len(noises), 3.4), layout="constrained")
    axes = figure.subplots(1, len(noises), squeeze=False)[0]
    for ax, noise in zip(axes, noises, strict=True):
        here = [row for row in rows if row["noise"] == noise]
        most = max(row["reviewed"] for row in here)
        ax.plot([0, most], [0, most], color=LINE, linewidth=1, label="every pair read is wrong")
        for k, (method, order, label) in enumerate(_orders(here)):
            points = grouped(
                (r for r in here if (r["method"], r["order"]) == (method, order) and answered(r["repaired"])),
                lambda row: int(row["reviewed"]),
            )
            x = sorted(points)
            _line(ax, x, [float(np.mean([r["repaired"] for r in points[p]])) for p in x], STYLES[k], label, every=1)
        ax.set_title(noise_title(noise))
        ax.set_xlabel("pairs read")
    axes[0].set_ylabel("errors removed")
    _shared_legend(figure, axes, columns=3)
    return figure


ROLES = {
    evidence.OWN: ("the method's pairs", "o", TEAL, TEAL),
    evidence.ALIKE: ("others recorded alike", "s", OCHRE, "white"),
    evidence.OTHERWISE: ("recorded the other way", "^", PLUM, "white"),
}


def charts_say(rows: Sequence[Row]) -> Figure | None:
    """Share of pairs that a finding supports, a panel for each way in which a method points to them."""
    told = list(evidence.by_method_and_group(rows))
    names = [name for name in evidence.GROUPS if any(group == name for _, group, _ in told)]
    if not names:
        return None
    methods = [m for m in reversed(evidence.METHODS) if any(method == m for method, _, _ in told)]
    figure = Figure(figsize=(9.2, 1.5 + 0.32 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, names, strict=True):
        for method, group, runs in told:
            if group == name:
                shares = {role: evidence.mean_share(runs, role, "supported") for role in ROLES}
                known = {role: value for role, value in shares.items() if value is not None}
                ax.plot([min(known.values()), max(known.values())], [methods.index(method)] * 2, color=LINE, zorder=1)
                for role, value in known.items():
                    label, marker, edge, face = ROLES[role]
                    ax.plot(value, methods.index(method), marker, color=edge, markerfacecolor=face, label=label)
        ax.set_title(evidence.GROUPS[name].replace(", ", ",\n"), fontsize=8)
        ax.set_xlim(0, 1)
        ax.set_xlabel("supported")
        ax.set_yticks(range(len(methods)), [method_title(method) for method in methods])
        ax.set_ylim(-0.6, len(methods) - 0.4)
    _shared_legend(figure, axes, columns=3)
    return figure


def _orders(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    present = {(row["method"], row["order"]) for row in rows}
    own = [
        (m, "method", f"order of {method_title(m)}") for m in (DEFAULT, "miracl", "paper") if (m, "method") in present
    ]
    base = next((m for m in (BASE, DEFAULT, *sorted(m for m, _ in present)) if (m, "loss") in present), None)
    if base is None:
        return own
    return [*own, (base, "loss", "order of loss"), (base, "random", "random order")]


def _line(
    ax: Axes, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, style: Mapping[str, object], label: str,
    every: int = 5,
) -> None:  # fmt: skip
    step = max(len(x) // every, 1) if every > 1 else 1
    ax.plot(x, y, label=label, markersize=3.6, markevery=(0, step), **style)  # type: ignore[arg-type]


def _shared_legend(
    figure: Figure, axes: Iterable[Axes], columns: int, first: Mapping[str, Patch] | None = None
) -> None:
    """One legend under the panels, each name once."""
    found: dict[str, Any] = dict(first or {})
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            list(found.values()), list(found), loc="outside lower center", ncols=columns, fontsize=8, handlelength=3.2
        )


def _wrapped(name: str, width: int = 18) -> str:
    """A label's name on two lines at most."""
    lines = [""]
    for word in name.split():
        if len(lines[-1]) + len(word) + 1 > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines if len(lines) <= 2 else [lines[0], f"{lines[1]} …"])
