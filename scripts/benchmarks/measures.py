"""What was asked of the method (benchmarks.md's thresholds), held against the raw rows: asked, came, met or not.

A measure for which rows are missing is "not measured", never met. The thresholds are those set before measuring.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.noise.settings import HOSPITAL, SEVEN
from scripts.benchmarks.report_finding import random_repaired
from scripts.benchmarks.rows import Row
from scripts.benchmarks.standing import (
    BASE,
    CLEAN,
    DEFAULT,
    ON_COURSE,
    behind,
    best_of,
    gap_closed,
    mean_difference,
    of,
    rivals_of,
)
from scripts.benchmarks.tables import answered, average, by_seed, figure, grouped, markdown_table, noise_title

OWN_DETECTOR = "error_probability"


@dataclass(frozen=True)
class Wanted:
    """Thresholds, as the measures were set.

    Parameters
    ----------
    gap
        Share of the gap closed at symmetric .2, at symmetric .4, and elsewhere among the seven.
    above_paper, ahead
        In how many of the seven the default is above the paper's form, and ahead of every other network.
    of_best_epoch
        Share of the plain network's mAP at its best epoch.
    level
        Of "significantly".
    detection_seven, detection_hospital
        In how many settings its average precision is the highest, in each observed class.
    auroc_negatives, precision_500
        AUROC among observed negatives at symmetric .2; precision at 500 in each of the seven.
    repair
        Times random order, by noise.
    reviews
        Locked reviews after which mAP is above before.
    ece, ece_reviewed, first_reviews
        Calibration error per class before any review, and after so many.
    """

    gap: tuple[float, float, float] = (0.5, 0.25, 0.6)
    above_paper: int = 6
    ahead: int = 5
    of_best_epoch: float = 0.98
    level: float = 0.05
    detection_seven: int = 6
    detection_hospital: int = 3
    auroc_negatives: float = 0.80
    precision_500: float = 0.80
    repair: tuple[tuple[str, float], ...] = (("sym20", 4.5), ("bal20", 10.0))
    reviews: int = 1500
    ece: float = 0.05
    ece_reviewed: float = 0.02
    first_reviews: int = 500


@dataclass(frozen=True)
class Measure:
    """One measure: what was asked, what came, and whether it is met (None: not measured)."""

    asked: str
    came: str
    met: bool | None


def measures(
    tables: Mapping[str, Sequence[Row]], cohort: str, size: str, default: str = DEFAULT, wanted: Wanted | None = None
) -> list[Measure]:
    """Hold each measure against the rows of one cohort and size."""
    wish = wanted or Wanted()
    mine = {k: [r for r in rows if r["cohort"] == cohort and r["size"] == size] for k, rows in tables.items()}
    robustness = mine.get("robustness", [])
    return [
        *_gaps(robustness, default, wish),
        *_ahead(robustness, default, wish),
        *_detection(mine.get("detection", []), default, wish),
        _no_harm(robustness, default),
        *_repair(mine.get("repair", []), default, wish),
        *_calibration(robustness, mine.get("repair", []), default, wish),
    ]


def measures_markdown(found: Iterable[Measure]) -> str:
    """The measures as a table."""
    words = {True: "met", False: "**not met**", None: "not measured"}
    return markdown_table(["asked", "came", "verdict"], ([m.asked, m.came, words[m.met]] for m in found))


def _gaps(rows: Sequence[Row], default: str, wish: Wanted) -> list[Measure]:
    told = []
    for noise in SEVEN:
        least = dict(zip(("sym20", "sym40"), wish.gap, strict=False)).get(noise, wish.gap[2])
        share, on_course = gap_closed(rows, default, noise), gap_closed(rows, default, noise, ON_COURSE)
        asked = f"gap closed, {noise_title(noise)}: at least {figure(least, 2)}"
        came = figure(share, 3) + (f" ({figure(on_course, 2)} of BCE's on its course)" if answered(on_course) else "")
        told.append(Measure(asked, came, share >= least if answered(share) else None))
    return told


def _ahead(rows: Sequence[Row], default: str, wish: Wanted) -> list[Measure]:
    networks = rivals_of(rows, default)
    ratio = {
        n: _mean(rows, default, n, "map") / best
        for n in SEVEN
        if of(rows, default, n) and (best := _mean(rows, BASE, n, "map_best")) > 0
    }
    lowest = min(ratio, key=lambda n: ratio[n], default=None)
    late = behind(rows, default, networks, SEVEN, wish.level)
    complete = all(len(by_seed(of(rows, default, n), "map")) > 1 and best_of(rows, networks, n) for n in SEVEN)
    return [
        _count("above the paper's form", rows, default, ["paper", "paper_batch"], wish.above_paper),
        _count("above regularised BCE", rows, default, ["bce_regularised"], len(SEVEN)),
        Measure(
            f"at least {figure(wish.of_best_epoch, 2)} of BCE's best epoch, in each of the seven",
            "–" if lowest is None else f"lowest {figure(ratio[lowest], 3)}, {noise_title(lowest)}",
            ratio[lowest] >= wish.of_best_epoch if lowest and len(ratio) == len(SEVEN) else None,
        ),
        _count("ahead of every other network", rows, default, networks, wish.ahead),
        Measure(
            f"significantly behind no other network (Welch or paired, Holm, {figure(wish.level, 2)})",
            ", ".join(late) or "none",
            not late if complete else None,
        ),
    ]


def _count(what: str, rows: Sequence[Row], default: str, rivals: Sequence[str], least: int) -> Measure:
    """In how many of the seven the default's mean is above the best of the rivals."""
    held = {
        n: _mean(rows, default, n, "map") > _mean(rows, best, n, "map")
        for n in SEVEN
        if of(rows, default, n) and (best := best_of(rows, rivals, n)) is not None
    }
    return _among(f"{what}, in {least} of seven", held, SEVEN, least)


def _among(asked: str, held: Mapping[str, bool], settings: Sequence[str], least: int) -> Measure:
    """So many of the settings hold; met already where the missing ones can't change it."""
    hold, missing = sum(held.values()), len(settings) - len(held)
    failing = [noise_title(n) for n, holds in held.items() if not holds]
    came = f"{hold} of {len(held)}" + (f"; not in {', '.join(failing)}" if failing else "")
    return Measure(asked, came, True if hold >= least else None if hold + missing >= least else False)


def _detection(rows: Sequence[Row], default: str, wish: Wanted) -> list[Measure]:
    told = []
    for settings, least, kind in (
        (SEVEN, wish.detection_seven, "the seven"),
        (HOSPITAL, wish.detection_hospital, "the hospital-like four"),
    ):
        held = {noise: holds for noise in settings if (holds := _highest(rows, default, noise)) is not None}
        asked = f"highest average precision in each observed class that has errors, in {least} of {kind}"
        told.append(_among(asked, held, settings, least))
    area = average([*by_seed(_of_detector(rows, default, "sym20", "negative"), "auroc").values()])
    at_500 = {
        n: value
        for n in SEVEN
        if (value := average([*by_seed(_of_detector(rows, default, n, "pooled"), "precision_500").values()]))
        is not None
    }
    lowest = min(at_500, key=lambda n: at_500[n], default=None)
    every = len(at_500) == len(SEVEN)
    told += [
        Measure(
            f"AUROC among pairs recorded absent, symmetric .2: at least {figure(wish.auroc_negatives, 2)}",
            figure(area),
            None if area is None else area >= wish.auroc_negatives,
        ),
        Measure(
            f"precision at 500 in each of the seven: at least {figure(wish.precision_500, 2)}",
            "–" if lowest is None else f"lowest {figure(at_500[lowest])}, {noise_title(lowest)}",
            at_500[lowest] >= wish.precision_500 if lowest and every else None,
        ),
    ]
    return told


def _highest(rows: Sequence[Row], default: str, noise: str) -> bool | None:
    """Whether no other detector has a higher mean average precision in a class; None where there is nothing to hold."""
    here = [r for r in rows if r["noise"] == noise and r["n_wrong"] and answered(r["average_precision"])]
    held = []
    for observed_class in ("positive", "negative"):
        found = grouped(
            (r for r in here if r["observed_class"] == observed_class), lambda r: (r["method"], r["detector"])
        )
        own = found.pop((default, OWN_DETECTOR), None)
        if own is None and found:
            return None
        leads = [mean_difference(own or [], other, "average_precision") for other in found.values()]
        held += [min(lead for lead in leads if answered(lead)) >= 0] if any(map(answered, leads)) else []
    return all(held) if held else None


def _of_detector(rows: Sequence[Row], default: str, noise: str, observed_class: str) -> list[Row]:
    return [
        r for r in of(rows, default, noise) if (r["detector"], r["observed_class"]) == (OWN_DETECTOR, observed_class)
    ]


def _no_harm(rows: Sequence[Row], default: str) -> Measure:
    settings = (CLEAN, *SEVEN, *HOSPITAL)
    mine = [(n, r) for n in settings for r in of(rows, default, n)]
    change = {
        (n, r["seed"]): int(r["wrong_before"] - r["wrong_after"])
        for n, r in mine
        if answered(r["wrong_after"]) and answered(r["wrong_before"])
    }
    of_class = {
        (n, r["seed"], told): int(r[f"repaired_{group}"] - r[f"harmed_{group}"])
        for n, r in mine
        for told, group in (("present", "positive"), ("absent", "negative"))
        if answered(r[f"repaired_{group}"]) and answered(r[f"harmed_{group}"])
    }
    worst = min(change, key=lambda k: change[k], default=None)
    came = "–" if worst is None else f"least change {_signed(change[worst])}, {noise_title(worst[0])}, seed {worst[1]}"
    if of_class and of_class[low := min(of_class, key=lambda k: of_class[k])] < 0:
        came += f"; of those recorded {low[2]} {_signed(of_class[low])}, {noise_title(low[0])}, seed {low[1]}"
    met: bool | None = None
    if worst is not None and change[worst] < 0:
        met = False
    elif change and change.keys() == {(n, seed) for n in settings for _, seed in change}:
        met = True
    return Measure("no fewer right labels after correction: twelve settings, every seed", came, met)


def _repair(rows: Sequence[Row], default: str, wish: Wanted) -> list[Measure]:
    told = []
    for noise, least in wish.repair:
        mine = [r for r in of(rows, default, noise) if r["order"] == "method" and r["reviewed"]]
        last = max((r["reviewed"] for r in mine), default=0)
        ratios = [r["repaired"] / random_repaired(r) for r in mine if r["reviewed"] == last and random_repaired(r) > 0]
        ratio = average(ratios)
        told.append(
            Measure(
                f"review removes {figure(least, 1)} times what random order does, {noise_title(noise)}",
                "–" if ratio is None else f"{figure(ratio, 2)} after {last:,} reviews",
                None if ratio is None else ratio >= least,
            )
        )
    for noise, _ in wish.repair:
        before, after = (
            by_seed([r for r in of(rows, default, noise) if r["order"] == "method" and r["reviewed"] == k], "map")
            for k in (0, wish.reviews)
        )
        gains = [after[s] - before[s] for s in after.keys() & before.keys()]
        gain = average(gains)
        asked = f"mAP after {wish.reviews:,} locked reviews above before, {noise_title(noise)}"
        spread = f" ({figure(min(gains), 4)} to {figure(max(gains), 4)} over seeds)" if len(gains) > 1 else ""
        told.append(Measure(asked, figure(gain, 4) + spread, None if gain is None else gain > 0))
    return told


def _calibration(robustness: Sequence[Row], repair: Sequence[Row], default: str, wish: Wanted) -> list[Measure]:
    reviewed = [r for r in repair if r["order"] == "method" and r["reviewed"] == wish.first_reviews]
    asked: list[tuple[Sequence[Row], Sequence[str], float, str]] = [
        (robustness, SEVEN, wish.ece, "before any review"),
        (reviewed, [noise for noise, _ in wish.repair], wish.ece_reviewed, f"after {wish.first_reviews}"),
    ]
    told = []
    for rows, settings, most, when in asked:
        errors = {
            (n, word): value
            for n in settings
            for column, word in (("positive", "present"), ("negative", "absent"))
            if (value := average([*by_seed(of(rows, default, n), f"ece_{column}").values()])) is not None
        }
        worst = max(errors, key=lambda k: errors[k], default=None)
        told.append(
            Measure(
                f"calibration error {when}, each class: at most {figure(most, 2)}",
                "–"
                if worst is None
                else f"highest {figure(errors[worst])}, {noise_title(worst[0])}, recorded {worst[1]}",
                errors[worst] <= most if worst and len(errors) == 2 * len(settings) else None,
            )
        )
    return told


def _signed(labels: int) -> str:
    return f"{labels:,}".replace("-", "−") + " labels"


def _mean(rows: Sequence[Row], method: str, noise: str, measure: str) -> float:
    found = average([*by_seed(of(rows, method, noise), measure).values()])
    return float("nan") if found is None else found
