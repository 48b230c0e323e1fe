"""Tables of what finds wrong labels: detectors by observed class, and simulated review."""

from collections.abc import Sequence

import numpy as np

from scripts.benchmarks.rows import Row
from scripts.benchmarks.standing import BASE
from scripts.benchmarks.tables import (
    answered,
    average,
    bold_if,
    by_seed,
    figure,
    grouped,
    markdown_table,
    method_title,
    noise_title,
    noises_of,
    plus_minus,
    sections,
)

NAMES = {
    "miracl_score": "MIRACL's score",
    "error_probability": "P(label wrong)",
    "loss": "loss, mean",
    "loss_last": "loss, last epoch",
    "cnlcu_s": "CNLCU-S",
    "aum": "AUM",
    "linc": "LiNC",
    "mild": "MILD",
    "el2n": "EL2N",
    "grand": "GraNd, last layer",
    "data_maps": "DataMaps",
    "data_iq": "Data-IQ",
    "confident_learning": "confident learning (out of fold)",
    "neighbours": "nearest patients",
    "visits": "other visits",
    "regression": "regression, |label − P|",
}
"""Detectors as the tables spell them."""


def detection_markdown(rows: Sequence[Row]) -> str:
    """Every detector under every noise, by observed class."""
    return sections(rows, lambda course, mine: [f"Held against {course.against}.", *_detection(mine)])


def _detection(rows: list[Row]) -> list[str]:
    parts = []
    named = grouped(rows, lambda row: detector_title(row["method"], row["detector"]))
    for observed_class, told in (("positive", "recorded present"), ("negative", "recorded absent")):
        for measure, title in (("average_precision", "Average precision"), ("auroc", "AUROC")):
            table = _detectors(named, observed_class, measure)
            if table:
                parts += [f"**{title} among pairs {told}**, macro over labels. Bold: the highest mean.", table]
    for measure, k in (("precision_100", 100), ("precision_500", 500)):
        for observed_class, told in (
            ("positive", " recorded present"),
            ("negative", " recorded absent"),
            ("pooled", ""),
        ):
            table = _detectors(named, observed_class, measure)
            if table:
                parts += [f"**Precision among the first {k} pairs{told}**, over all labels.", table]
    return parts


def _detectors(named: dict[str, list[Row]], observed_class: str, measure: str) -> str | None:
    """Detector by noise; noises without wrong pairs in the class are left out. None where nothing is left."""
    mine = {name: [row for row in rows if row["observed_class"] == observed_class] for name, rows in named.items()}
    wrong = [row for rows in mine.values() for row in rows if row["n_wrong"] and answered(row[measure])]
    noises = noises_of(wrong)
    if not noises:
        return None
    runs = max(len({row["seed"] for row in wrong if row["noise"] == n}) for n in noises)
    values = {
        (name, n): [*by_seed([r for r in rows if r["noise"] == n and r["n_wrong"]], measure).values()]
        for name, rows in mine.items()
        for n in noises
    }
    tops = {n: max(np.mean(values[name, n]) for name in mine if values[name, n]) for n in noises}
    lines = [
        [name, *(bold_if(plus_minus(v, runs=runs), bool(v) and np.mean(v) == tops[n]) for n in noises
                 for v in [values[name, n]])]
        for name in mine
        if any(values[name, n] for n in noises)
    ]  # fmt: skip
    return markdown_table(["detector", *map(noise_title, noises)], lines)


def detector_title(method: str, detector: str) -> str:
    """A detector, and whose network it read: the plain one's goes unsaid."""
    words = NAMES.get(detector, detector.replace("_", " "))
    if method == BASE:
        return words
    return f"{words} ({'its own network' if method == detector else method_title(method)})"


def repair_markdown(rows: Sequence[Row]) -> str:
    """Simulated review: errors removed, beside random order, and what training again makes of it."""
    return sections(rows, lambda _course, mine: _repair(mine))


def _repair(rows: list[Row]) -> list[str]:
    parts = []
    for noise in noises_of(rows):
        lines = []
        here = [row for row in rows if row["noise"] == noise]
        shown = [row for row in here if row["order"] == "method" or (row["order"] != "random" and row["reviewed"])]
        for (method, order, reviewed), mine in grouped(
            sorted(shown, key=lambda r: (r["method"], r["order"] != "method", r["order"], r["reviewed"])),
            lambda row: (row["method"], row["order"], row["reviewed"]),
        ).items():
            read = [row for row in mine if row["reviewed"] and answered(row["repaired"])]
            rate = [100 * row["repaired"] / row["reviewed"] for row in read]
            ratio = [row["repaired"] / random for row in read if (random := random_repaired(row)) > 0]
            lines.append(
                [
                    method_title(method), order, f"{reviewed:,}", plus_minus(rate, 1), plus_minus(ratio, 2),
                    *(plus_minus(by_seed(mine, name).values()) for name in ("map", "ece_positive", "ece_negative")),
                    figure(average([r["wrong_after"] / r["pairs"] for r in mine if answered(r["wrong_after"])]), 4),
                ]
            )  # fmt: skip
        head = ["method", "order", "reviews", "errors removed per 100", "times random", "test mAP"]
        head += ["ECE present", "ECE absent", "labels wrong after correction"]
        chance = plus_minus({r["seed"]: 100 * r["wrong_before"] / r["pairs"] for r in here if r["pairs"]}.values(), 1)
        parts += [
            f"**{noise_title(noise)}**: pairs read from the top of each order, locked as they truly are. In random "
            f"order {chance} errors are removed per 100 reviews.",
            markdown_table(head, lines),
        ]
    return parts


def random_repaired(row: Row) -> float:
    """Errors that as many reviews in random order remove on average."""
    return float(row["reviewed"] * row["wrong_before"] / row["pairs"]) if row["pairs"] else float("nan")
