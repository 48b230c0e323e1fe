"""What charts say of a method's pairs: its groups and shares by hand, and a run on invented patients."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_store.panel import Finding, PanelItem, PanelResult
from core.errors import ConfigError
from scripts.benchmarks import evidence
from scripts.benchmarks.evidence import ALIKE, OTHERWISE, OWN
from scripts.benchmarks.robustness import Plan, quick
from scripts.benchmarks.rows import read_rows, write_rows
from scripts.benchmarks.runner import Place
from tests.scripts.benchmark_rows import chart_rows

from .conftest import call_miracl

OBSERVED = np.array([[0, 1], [0, 1], [1, 0], [0, 0]], np.uint8)
MEMBER = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], np.bool_)


def test_groups_are_the_changed_pairs_and_the_first_of_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "FIRST", {0: 2, 1: 1})
    after = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.uint8)  # the last is no member
    score = np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.3], [0.0, 1.0]])
    groups = {group.name: group for group in evidence.groups_of(OBSERVED, after, score, MEMBER)}
    assert {name: group.chosen.nonzero()[0].tolist() for name, group in groups.items()} == {
        "added": [0], "removed": [0], "first_absent": [0, 1], "first_present": [1],
    }  # fmt: skip
    roles = evidence.beside(groups["added"], OBSERVED, MEMBER)
    assert {role: int(pairs.sum()) for role, pairs in roles.items()} == {OWN: 1, ALIKE: 3, OTHERWISE: 3}


def test_an_order_that_tells_nothing_has_no_first_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "FIRST", {0: 2, 1: 1})
    flat = np.zeros(OBSERVED.shape)
    assert evidence.groups_of(OBSERVED, OBSERVED, flat, MEMBER) == []


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ([], (False, False, False)),
        ([("named_in_notes", "supports")], (True, False, False)),
        ([("map_low", "supports"), ("insulin", "neutral")], (True, True, False)),
        ([("map_low", "supports"), ("denied_in_notes", "against")], (False, True, False)),
        ([("denied_in_notes", "against")], (False, False, True)),
    ],
)
def test_what_findings_say(monkeypatch: pytest.MonkeyPatch, findings: list[tuple[str, str]], told: tuple[bool, ...]):
    made = tuple(Finding(rule, "words", direction, "column", ()) for rule, direction in findings)
    result = PanelResult("shock", 1, (PanelItem("item", "", "value", "", (), "neutral", made, (), (), False),), "")
    monkeypatch.setattr(evidence, "panel", lambda *_: result)
    chart: Any = None
    assert tuple(evidence.found(chart, "shock", 1)[name] for name in evidence.COUNTED) == told


def test_shares_of_other_pairs_are_weighed_as_the_own_ones_have_labels() -> None:
    """(30 · .2 + 10 · .4)/40 = .25, where 32 of the 110 read would be .29; a label without other pairs is left out."""
    made = chart_rows()
    assert evidence.share(made, OWN, "supported") == pytest.approx(16 / 40)
    assert evidence.share(made, ALIKE, "supported") == pytest.approx(0.25)
    assert evidence.share(made, OTHERWISE, "supported") == pytest.approx(0.8)
    assert np.isnan(evidence.share([one for one in made if one["role"] == OWN], ALIKE, "supported"))
    text = evidence.markdown(made)
    assert "| MIRACL Audit, calibrated | recorded absent, corrected to present | 40 | .40 | .25 | .80 |" in text
    assert "past history" not in text
    assert "### eICU demo, labels as recorded, compact size" in text
    known = [one | ({"history_known": 4, "history_named": 3} if one["role"] == OWN else {}) for one in made]
    assert "| recorded absent, corrected to present | .75 | – | – |" in evidence.markdown(known)


def test_other_methods_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="methods among bce, paper"):
        evidence.jobs(Plan(("gce",), ("sym20",), range(1), "synthetic-100", "compact", 30, Place(tmp_path)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "the eICU demo's folder"),
        (["--data", "tests"], "pastHistory"),
        (["--quick", "--methods", "gce"], "methods among bce, paper, miracl, calibrated"),
    ],
)
def test_the_verb_refuses_in_one_line(options: list[str], says: str) -> None:
    done = call_miracl("benchmark", "evidence", *options)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_run_reads_charts_of_its_pairs_and_of_others_beside_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(evidence, "READ", 10)
    plan = quick(Plan(("calibrated",), ("sym20",), range(1), "synthetic-4000", "compact", 30, Place(tmp_path)))
    (job,) = evidence.jobs(replace(plan, cohort="synthetic-120"))
    made = evidence.run(job)
    rows = made["evidence"]
    write_rows(tmp_path / "rows", made)
    assert read_rows(tmp_path / "rows", "evidence") == sorted(rows, key=lambda one: one["cohort"])
    assert all(one["n_read"] == min(one["n"], 10) for one in rows)
    assert all(0 <= one[name] <= one["n_read"] for one in rows for name in evidence.COUNTED)
    of_first = [one for one in rows if one["group"] == "first_absent"]
    assert sum(one["n"] for one in of_first if one["role"] == OWN) == 500
    assert evidence.share(of_first, OTHERWISE, "supported") > 2 * evidence.share(of_first, ALIKE, "supported")
