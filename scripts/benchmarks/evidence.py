"""What charts say of the labels that a method changes or asks to be read first, where nobody knows the truth.

The review page's findings (`audit_store.panel`: thresholds of the guidelines, recorded treatments, terms in the record)
are asked of each such pair, and of others of the same label beside it. They read no coded diagnosis. The method reads
the same charts, so this is no proof of a diagnosis: it tells whether a reader who opens the pair finds something.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from audit_store.chart import Chart
from audit_store.panel import panel
from core.detectors.registry import scores
from core.errors import ConfigError
from core.fit import Fitted, fit
from core.metrics.harm import handed_out
from core.training import choose_device
from scripts.benchmarks import robustness
from scripts.benchmarks.charted import ILLNESSES, charted, history_file
from scripts.benchmarks.cohorts import EICU, RECORDED
from scripts.benchmarks.fits import own_suspicion
from scripts.benchmarks.robustness import Plan
from scripts.benchmarks.rows import Row
from scripts.benchmarks.runner import Job, Made
from scripts.benchmarks.scene import head, set_scene
from scripts.benchmarks.tables import NONE, Course, average, figure, grouped, markdown_table, method_title, sections

TABLE = "evidence"
METHODS = ("bce", "paper", "miracl", "calibrated")
"""Networks that correct labels, and the plain one, which would have pairs read in the order of their loss."""
QUICK_METHODS = ("calibrated",)

FIRST = {0: 500, 1: 100}
"""How many pairs recorded absent, and present, are the first of a list."""
READ = 60
"""Pairs read of a label in each group; drawn where there are more."""
OWN, ALIKE, OTHERWISE = "own", "alike", "otherwise"

GROUPS = {
    "added": "recorded absent, corrected to present",
    "removed": "recorded present, corrected to absent",
    "first_absent": f"recorded absent, the first {FIRST[0]} of its order",
    "first_present": f"recorded present, the first {FIRST[1]} of its order",
}
WORDS = frozenset({"named_in_notes", "named_elsewhere", "mate_named", "admission_names_it"})
"""Rules that find the label's own terms, no measurement, treatment or examination."""


@dataclass(frozen=True)
class Group:
    """Pairs of one record, bool [stays, labels]."""

    name: str
    recorded: int
    chosen: np.ndarray


def jobs(plan: Plan) -> list[Job]:
    """Jobs of a plan: labels as recorded on the demo, planted noise on invented patients.

    Raises
    ------
    ConfigError
        On a method that says nothing of labels, or where the demo's past histories are not there.
    """
    if plan.cohort == EICU:
        history_file(plan.place.data)
    for name in plan.methods:
        if name not in METHODS:
            raise ConfigError(f"methods among {', '.join(METHODS)}", repr(name), "leave it out or spell it so")
    return robustness.jobs(plan, TABLE)


def noise_of(cohort: str) -> str:
    """The noise of a cohort's runs: none is planted into what is noisy itself."""
    return RECORDED if cohort == EICU else "sym20"


def run(job: Job) -> Made:
    """Train a method once, and ask the review page's findings of the pairs that it points to."""
    began = time.perf_counter()
    scene, packed = set_scene(job)
    fitted = fit(
        packed, scene.pairs, scene.config, seed=job.seed, place=choose_device(job.place.device),
        persistence=scene.prepared.persistence,
    )  # fmt: skip
    assert fitted is not None
    observed, member = scene.pairs.observed, scene.pairs.member
    after = handed_out(observed, fitted.corrected)
    chart = Chart.open(scene.prepared.cohort.folder)
    stays = np.asarray(packed.stay_ids)
    rng = np.random.default_rng(job.seed)
    history = charted(job.place.data, stays) if job.cohort == EICU else None
    read: dict[tuple[int, int], dict[str, bool]] = {}

    def verdict(stay: int, label: int) -> dict[str, bool]:
        if (stay, label) not in read:
            read[stay, label] = found(chart, packed.label_keys[label], int(stays[stay]))
        return read[stay, label]

    lines: list[Row] = []
    for group in groups_of(observed, after, order_of(job, fitted), member):
        for role, pairs in beside(group, observed, member).items():
            for label in np.flatnonzero(group.chosen.any(0)):
                there = np.flatnonzero(pairs[:, label])
                drawn = np.sort(rng.choice(there, READ, replace=False)) if there.size > READ else there
                told = [verdict(int(stay), int(label)) for stay in drawn]
                lines.append(
                    {
                        "group": group.name,
                        "role": role,
                        "label": packed.label_keys[label],
                        "n": int(there.size),
                        "n_read": len(told),
                        **{name: sum(one[name] for one in told) for name in COUNTED},
                        **in_history(history, drawn, packed.label_keys[label]),
                    }
                )
    top = head(job, packed.fingerprint, began)
    return {TABLE: [{**top, **line} for line in lines] or [{**top, "group": "none", "role": OWN}]}


def order_of(job: Job, fitted: Fitted) -> np.ndarray:
    """What a method would have read first: its own suspicion, of the plain network the mean loss [stays, labels]."""
    return scores(fitted.traces, ("loss",))["loss"] if job.method == "bce" else own_suspicion(fitted)


COUNTED = ("supported", "measured", "contradicted")


def found(chart: Chart, label_key: str, stay_id: int) -> dict[str, bool]:
    """What the findings say of a pair.

    Returns
    -------
    supported
        A finding speaks for the label and none against it.
    measured
        One that speaks for it is no mere term.
    contradicted
        A finding speaks against it and none for it.
    """
    findings = panel(chart, label_key, stay_id).findings
    ways = {finding.direction for finding in findings}
    return {
        "supported": "supports" in ways and "against" not in ways,
        "measured": any(f.direction == "supports" and f.rule not in WORDS for f in findings),
        "contradicted": "against" in ways and "supports" not in ways,
    }


def groups_of(observed: np.ndarray, after: np.ndarray, score: np.ndarray, member: np.ndarray) -> list[Group]:
    """Pairs that a method changes, and those that it would have read first; groups without a pair are left out.

    Parameters
    ----------
    observed, after
        Labels as recorded and as handed out, 0 or 1 [stays, labels].
    score
        Higher is to be read sooner [stays, labels].
    member
        Training pairs, bool [stays, labels].
    """
    found = []
    for name, value in (("added", 0), ("removed", 1)):
        found.append(Group(name, value, member & (observed == value) & (after != value)))
    for name, value in (("first_absent", 0), ("first_present", 1)):
        found.append(Group(name, value, first(score, member & (observed == value), FIRST[value])))
    return [group for group in found if group.chosen.any()]


def first(score: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
    """The pairs of highest score; of an order that cannot tell the last of them from the lowest, none."""
    places = np.flatnonzero(among)
    values = score.reshape(-1)[places]
    order = places[np.argsort(-values, kind="stable")[:count]]
    chosen = np.zeros(score.size, np.bool_)
    if order.size and score.reshape(-1)[order[-1]] > values.min():
        chosen[order] = True
    return chosen.reshape(score.shape)


def beside(group: Group, observed: np.ndarray, member: np.ndarray) -> dict[str, np.ndarray]:
    """The group's pairs, the others recorded alike, and those recorded otherwise: bool [stays, labels] each."""
    alike = member & (observed == group.recorded) & ~group.chosen
    return {OWN: group.chosen, ALIKE: alike, OTHERWISE: member & (observed != group.recorded)}


def in_history(history: tuple[np.ndarray, np.ndarray] | None, stays: np.ndarray, label_key: str) -> Row:
    """Of a lifelong illness's pairs, how many have a charted past history, and how many of these name it."""
    for place, illness in enumerate(ILLNESSES.values()):
        if history is not None and label_key in illness.labels:
            named, known = history
            told = stays[known[stays]]
            return {"history_known": int(told.size), "history_named": int(named[told, place].sum())}
    return {"history_known": 0, "history_named": 0}


def share(rows: Iterable[Row], role: str, counted: str, out_of: str = "n_read") -> float:
    """Share of a role's pairs in one run, its labels weighed as the method's own pairs have them; NaN of nothing."""
    mine = list(rows)
    weight = {row["label"]: row["n"] if out_of == "n_read" else row[out_of] for row in mine if row["role"] == OWN}
    theirs = [row for row in mine if row["role"] == role and row[out_of] and weight.get(row["label"])]
    total = sum(weight[row["label"]] for row in theirs)
    return sum(weight[row["label"]] * row[counted] / row[out_of] for row in theirs) / total if total else float("nan")


def markdown(made: Sequence[Row]) -> str:
    """What findings say of a method's own pairs, of others recorded alike and of those recorded otherwise."""

    def write(_course: Course, mine: list[Row]) -> list[str]:
        head_line = ["method", "pairs", "a run", "supported", "alike", "otherwise"]
        head_line += ["measured", "alike", "otherwise", "contradicted", "alike", "otherwise"]
        histories = list(_history_lines(mine))
        parts = [
            "**Share of pairs of which a finding of the review page speaks for the label** and none against it "
            "(*supported*), for which one that speaks for it is more than its name in the record (*measured*), and of "
            "which a finding speaks against it and none for it (*contradicted*). Beside each: other pairs of the same "
            "labels, recorded *alike* and *otherwise*, weighed by label as the method's own are; of a label with more "
            f"than {READ} pairs, {READ} are drawn. Mean over seeds. The plain network orders by its mean loss.",
            markdown_table(head_line, _lines(mine)),
        ]
        if histories:
            parts += [
                "**Named in the past history**, of pairs of four lifelong illnesses (diabetes, hypertension, kidney "
                "disease, COPD) whose stay has one.",
                markdown_table(["method", "pairs", "own", "alike", "otherwise"], histories),
            ]
        return parts

    return sections(made, write, cohorts={EICU: "eICU demo, labels as recorded"})


def by_method_and_group(mine: Sequence[Row]) -> Iterable[tuple[str, str, list[list[Row]]]]:
    """Method, group and rows by seed."""
    for method in METHODS:
        for name in GROUPS:
            here = [row for row in mine if (row["method"], row["group"]) == (method, name)]
            if here:
                yield method, name, list(grouped(here, lambda row: int(row["seed"])).values())


def mean_share(runs: Sequence[Sequence[Row]], role: str, counted: str, out_of: str = "n_read") -> float | None:
    """`share` as a mean over runs, of those that have an answer."""
    told = [value for run in runs if (value := share(run, role, counted, out_of)) == value]
    return average(told)


def _cell(runs: Sequence[Sequence[Row]], role: str, counted: str, out_of: str = "n_read") -> str:
    value = mean_share(runs, role, counted, out_of)
    return NONE if value is None else figure(value, 2)


def _lines(mine: Sequence[Row]) -> Iterable[list[str]]:
    for method, name, runs in by_method_and_group(mine):
        count = average([sum(row["n"] for row in run if row["role"] == OWN) for run in runs])
        cells = [_cell(runs, role, counted) for counted in COUNTED for role in (OWN, ALIKE, OTHERWISE)]
        yield [method_title(method), GROUPS[name], f"{count or 0:,.0f}", *cells]


def _history_lines(mine: Sequence[Row]) -> Iterable[list[str]]:
    for method, name, runs in by_method_and_group(mine):
        cells = [_cell(runs, role, "history_named", "history_known") for role in (OWN, ALIKE, OTHERWISE)]
        if cells[0] != NONE:
            yield [method_title(method), GROUPS[name], *cells]
