"""The benchmarks' tables in Markdown, from raw rows: robustness, ablation and cost; the others in `report_finding`.

Figures are means over seeds ± standard deviation (ddof 1); rows of different cohorts, sizes or numbers of epochs stand
in tables of their own. Nothing is rounded up to a star: p values stand as they are, beside Holm's.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scripts.benchmarks.ablation import VARIANTS
from scripts.benchmarks.methods import METHODS
from scripts.benchmarks.rows import Row
from scripts.benchmarks.standing import (
    BASE,
    BEST_EPOCH,
    CLEAN,
    DEFAULT,
    ON_COURSE,
    Standing,
    best_of,
    gap_closed,
    noisy,
    of,
    patient_interval,
    rivals_of,
    standings,
    with_best_epoch,
)
from scripts.benchmarks.tables import (
    NONE,
    Course,
    answered,
    average,
    bold_if,
    by_seed,
    figure,
    markdown_table,
    method_title,
    noise_title,
    noises_of,
    p_value,
    plus_minus,
    sections,
)

CLEAR = 0.1
"""A method should beat chance by this (methods.md F)."""

OTHER = {
    "f1_micro": "Micro F1",
    "f1_macro": "Macro F1",
    "auroc_macro": "AUROC, macro over labels",
    "auroc_micro": "AUROC, micro",
}


def robustness_markdown(rows: Sequence[Row], default: str = DEFAULT) -> str:
    """Every method under every noise: mAP, the share of the gap, tests, labels, calibration, other measures."""
    return sections(rows, lambda course, mine: _robustness(course, with_best_epoch(mine), default))


def _robustness(course: Course, rows: list[Row], default: str) -> list[str]:
    noises, methods = noises_of(rows), _methods(rows)
    parts = [
        f"**Test mAP against {course.against}, last epoch.** Bold: the highest mean of a method that could be used; † "
        "an oracle, which could not: it picks its epoch on the test labels.",
        _grid(rows, methods, noises, "map", bold=True, below=[_chance(rows, noises)]),
        *_near_chance(rows, noises),
    ]
    if CLEAN in noises and (against_noise := noisy(rows)):
        parts += [
            "**Share of the gap closed**: (mAP − BCE's)/(BCE's on clean labels − BCE's), means over common seeds.",
            markdown_table(
                ["method", *map(noise_title, against_noise)],
                (
                    [_title(m), *(figure(gap_closed(rows, m, n), 2) for n in against_noise)]
                    for m in methods
                    if m != BASE
                ),
            ),
            *_on_one_course(rows, default, against_noise),
        ]
    if any(row.get("bootstrap") for row in rows):
        parts += [
            "**95 % interval of that mAP over test patients** (bootstrap, mean over seeds).",
            markdown_table(
                ["method", *map(noise_title, noises)],
                (
                    [_title(m), *(_interval(*patient_interval(of(rows, m, n))) for n in noises)]
                    for m in methods
                    if m != BEST_EPOCH
                ),
            ),
        ]
    parts += _tests(rows, default, ("network",), "the best of the other networks")
    parts += _tests(rows, default, ("regression",), "logistic regression")
    parts += _labels(rows, methods, noises) + _calibrated(rows, methods, noises)
    for name, title in OTHER.items():
        parts += [f"**{title}**, last epoch.", _grid(rows, [m for m in methods if m != BEST_EPOCH], noises, name)]
    return parts


def _on_one_course(rows: Sequence[Row], default: str, noises: Sequence[str]) -> list[str]:
    """The gap's shares where BCE at both its ends is trained by the default's optimiser, as these methods are."""
    alike = [m for m in _methods(rows) if m == default or (m in METHODS and METHODS[m].on_course)]
    lines = [
        [_title(m), *(figure(gap_closed(rows, m, n, ON_COURSE), 2) for n in noises)] for m in alike if m != ON_COURSE
    ]
    if not of_any(rows, ON_COURSE):
        return []
    return [
        f"**The same on one course**: BCE at both ends of the gap has the optimiser, schedule and decay of "
        f"{method_title(default)}, as every method of this table has.",
        markdown_table(["method", *map(noise_title, noises)], lines),
    ]


def _tests(rows: Sequence[Row], default: str, kinds: tuple[str, ...], whom: str) -> list[str]:
    rivals = rivals_of(rows, default, kinds)
    found = standings(rows, default, rivals, noisy(rows))
    if not found:
        return []
    measured = {held.noise: sum(bool(of(rows, name, held.noise)) for name in rivals) for held in found}
    head = ["noise", "against", "best of", "difference", "Welch p", "Holm", "paired p", "Holm", "95 % over patients"]
    return [
        f"**{method_title(default)} against {whom}.** One-sided tests over seeds that it is ahead (near 1: it is "
        "behind), with Holm's correction over the table's rows; the interval is of the difference, with test patients "
        "resampled.",
        markdown_table(head, (_test_line(held, measured[held.noise]) for held in found)),
    ]


def _test_line(held: Standing, measured: int) -> list[str]:
    return [
        noise_title(held.noise),
        method_title(held.rival),
        str(measured),
        figure(held.own.mean - held.other.mean, 4),
        *map(p_value, (held.welch.p, held.welch_holm, held.paired.p, held.paired_holm)),
        _interval(held.low, held.high, 4),
    ]


def _labels(
    rows: Sequence[Row], methods: Sequence[str], noises: Sequence[str], title: Callable[[str], str] | None = None
) -> list[str]:
    correcting = [m for m in methods if any(answered(r["accuracy_after"]) for n in noises for r in of(rows, m, n))]
    if not correcting:
        return []
    runs = max(len(of(rows, m, n)) for m in correcting for n in noises)
    lines = [["as recorded", *(figure(_mean(rows, correcting[-1], n, "accuracy_before"), 4) for n in noises)]]
    for name in correcting:
        cells = []
        for n in noises:
            was, now = (by_seed(of(rows, name, n), f"wrong_{when}") for when in ("before", "after"))
            fewer = sum(now[s] > was[s] for s in now.keys() & was.keys())
            cells.append(figure(_mean(rows, name, n, "accuracy_after"), 4) + (f" ↓{fewer}" if fewer else ""))
        lines.append([(title or _title)(name), *cells])
    return [
        f"**Right labels among training pairs, before and after correction** (↓k: fewer than before in k of {runs} "
        "runs).",
        markdown_table(["method", *map(noise_title, noises)], lines),
        *_by_class(rows, correcting, noises, title or _title),
    ]


def _by_class(
    rows: Sequence[Row], methods: Sequence[str], noises: Sequence[str], title: Callable[[str], str]
) -> list[str]:
    """Labels put right less labels put wrong, by what was recorded: a gain in one class can hide a loss elsewhere."""
    lines = []
    for name in methods:
        for told, group in (("present", "positive"), ("absent", "negative")):
            gains = [
                [
                    float(r[f"repaired_{group}"] - r[f"harmed_{group}"])
                    for r in of(rows, name, n)
                    if answered(r[f"repaired_{group}"]) and answered(r[f"harmed_{group}"])
                ]
                for n in noises
            ]
            if any(gain for gained in gains for gain in gained):
                worse = [sum(gain < 0 for gain in gained) for gained in gains]
                cells = [
                    (f"{round(mean):,}".replace("-", "−") if (mean := average(gained)) is not None else NONE)
                    + (f" ↓{k}" if k else "")
                    for gained, k in zip(gains, worse, strict=True)
                ]
                lines.append([title(name), told, *cells])
    if not lines:
        return []
    return [
        "**Labels put right less labels put wrong, by what was recorded**, mean over seeds (↓k: more put wrong, in k "
        "runs).",
        markdown_table(["method", "recorded", *map(noise_title, noises)], lines),
    ]


def _calibrated(rows: Sequence[Row], methods: Sequence[str], noises: Sequence[str]) -> list[str]:
    lines = [
        [_title(name), told, *(plus_minus(by_seed(of(rows, name, n), f"ece_{column}").values()) for n in noises)]
        for name in methods
        if name != BEST_EPOCH
        for told, column in (("present", "positive"), ("absent", "negative"))
        if any(answered(row[f"ece_{column}"]) for n in noises for row in of(rows, name, n))
    ]
    if not lines:
        return []
    return [
        "**Expected calibration error of P(label wrong)**, ten bins of equal width weighted by count, by what is "
        "recorded, before any review.",
        markdown_table(["method", "recorded", *map(noise_title, noises)], lines),
    ]


def ablation_markdown(rows: Sequence[Row]) -> str:
    """What each part is worth: mAP, and labels after correction."""
    versions = {name: variant.version for name, variant in VARIANTS.items()}

    def write(_course: Course, mine: list[Row]) -> list[str]:
        noises = noises_of(mine)
        names = [*(n for n in VARIANTS if of_any(mine, n)), *(n for n in _present(mine) if n not in VARIANTS)]
        grid = _grid(mine, names, noises, "map", bold=True, title=_variant)
        parts = ["**Test mAP, last epoch.** Bold: the highest mean.", grid]
        for observed_class, told in (("positive", "present"), ("negative", "absent")):
            found = f"own_ap_{observed_class}"
            where = [n for n in noises if any(answered(row.get(found)) for row in mine if row["noise"] == n)]
            if where:
                parts += [
                    f"**Average precision of wrong labels among pairs recorded {told}** by the variant's own order, "
                    "macro over labels.",
                    _grid(mine, names, where, found, bold=True, title=_variant),
                ]
        return [*parts, *_labels(mine, names, noises, _variant)]

    return sections(rows, write, versions)


def cost_markdown(rows: Sequence[Row]) -> str:
    """Seconds per epoch beside the backbone's: medians over repeats and seeds."""

    def write(_course: Course, mine: list[Row]) -> list[str]:
        lines = []
        for name in _methods(mine):
            own = [row for row in mine if row["method"] == name]
            ratios = [row["ratio"] for row in own if answered(row["ratio"])]
            spread = f"{figure(min(ratios), 2)}–{figure(max(ratios), 2)}" if ratios else NONE
            keys = ("seconds_per_epoch", "ratio", "own_share", "outside_seconds", "peak_mib")
            epoch, ratio, own_share, outside, peak = (_median(own, key) for key in keys)
            share = NONE if own_share is None else f"{100 * own_share:.1f} %"
            memory = NONE if peak is None else f"{peak:,.0f}"
            lines.append([_title(name), figure(epoch, 2), figure(ratio, 2), spread, share, figure(outside, 1), memory])
        head = ["method", "seconds an epoch", "ratio to BCE", "range", "selection and correction"]
        head += ["seconds beside the epochs", "peak MiB"]
        told = (
            "Medians of several; both sides of a ratio in one process. Beside the epochs: what a run does once, like "
            "the regressions that judge a label by other patients."
        )
        return [told, markdown_table(head, lines)]

    return sections(rows, write)


def _grid(
    rows: Sequence[Row],
    methods: Sequence[str],
    noises: Sequence[str],
    measure: str,
    *,
    bold: bool = False,
    below: Iterable[Sequence[str]] = (),
    title: Callable[[str], str] | None = None,
) -> str:
    runs = max((len(by_seed(of(rows, m, n), measure)) for m in methods for n in noises), default=0)
    tops = {n: best_of(rows, [m for m in methods if m != BEST_EPOCH], n, measure) for n in noises}
    name = title or _title
    lines = []
    for m in methods:
        cells = {n: plus_minus(by_seed(of(rows, m, n), measure).values(), runs=runs) for n in noises}
        lines.append([name(m), *(bold_if(text, bold and tops[n] == m) for n, text in cells.items())])
    return markdown_table(["method", *map(noise_title, noises)], [*lines, *below])


def _chance(rows: Sequence[Row], noises: Sequence[str]) -> list[str]:
    """The row every mAP is to be read against."""
    each = [[r["chance"] for r in rows if r["noise"] == n and answered(r["chance"])] for n in noises]
    return ["chance (mean prevalence)", *(figure(average(values)) for values in each)]


def _near_chance(rows: Sequence[Row], noises: Sequence[str]) -> list[str]:
    near = {
        m: [
            noise_title(n)
            for n in noises
            if (gain := _mean(rows, m, n, "map")) is not None and gain - (_mean(rows, m, n, "chance") or 0) < CLEAR
        ]
        for m in _methods(rows)
        if m != BEST_EPOCH
    }
    told = "; ".join(f"{method_title(m)}: {', '.join(where)}" for m, where in near.items() if where)
    return [f"Less than {figure(CLEAR, 1)} above chance: {told}."] if told else []


def _methods(rows: Sequence[Row]) -> list[str]:
    """Methods in the order of the tables, oracle last."""
    present = _present(rows)
    listed = [name for name in METHODS if name in present]
    others = [name for name in present if name not in METHODS and name != BEST_EPOCH]
    return listed + others + [BEST_EPOCH] * (BEST_EPOCH in present)


def _present(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows))


def of_any(rows: Iterable[Row], method: str) -> bool:
    """Whether a method has rows."""
    return any(row["method"] == method for row in rows)


def _variant(name: str) -> str:
    return VARIANTS[name].title if name in VARIANTS else name


def _title(name: str) -> str:
    return "BCE at its best epoch †" if name == BEST_EPOCH else method_title(name)


def _interval(low: float, high: float, digits: int = 3) -> str:
    return f"{figure(low, digits)} to {figure(high, digits)}" if answered(low) else NONE


def _mean(rows: Sequence[Row], method: str, noise: str, measure: str) -> float | None:
    return average([*by_seed(of(rows, method, noise), measure).values()])


def _median(rows: Sequence[Row], measure: str) -> float | None:
    values = [row[measure] for row in rows if answered(row[measure])]
    return float(np.median(values)) if values else None
