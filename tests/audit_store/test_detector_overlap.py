"""Which detectors pick the same pairs: against picks drawn by hand, with ties broken by chance."""

from itertools import combinations, pairwise
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest

from audit_store.detector_overlap import FLAGS, TWENTIETH, Overlap, _overlap, overlap
from tests.audit_store.conftest import Site

Scores = dict[str, list[float | None]]


def made(labels: list[int], flagged: list[bool], **scores: list[float | None]) -> Any:
    """What is read of a round: pairs of these labels, all recorded absent, with their scores and flags."""
    connection = duckdb.connect()
    columns = ", ".join(f"{name} FLOAT" for name in scores)
    connection.execute(f"CREATE TABLE w (stay_id BIGINT, label_id SMALLINT, observed UTINYINT, {columns})").fetchall()
    connection.execute("CREATE TABLE flag (stay_id BIGINT, label_id SMALLINT)").fetchall()
    for stay, label in enumerate(labels):
        values = [stay, label, 0, *(column[stay] for column in scores.values())]
        connection.execute(f"INSERT INTO w VALUES ({', '.join('?' * len(values))})", values).fetchall()
        if flagged[stay]:
            connection.execute("INSERT INTO flag VALUES (?, ?)", [stay, label]).fetchall()
    connection.execute("ALTER TABLE w RENAME TO detector_wide").fetchall()
    return SimpleNamespace(
        columns=lambda _table: ("stay_id", "label_id", "observed", *scores),
        arrow=lambda query, values: connection.sql(query, params=list(values)).to_arrow_table(),
    )


def drawn(labels: list[int], flagged: list[bool], scores: Scores, draws: int) -> dict[tuple[str, str], float]:
    """Shares in common by drawing: sets of pairs, ties broken anew for each detector in each draw."""
    rng = np.random.default_rng(3)
    sums = dict.fromkeys(combinations(scores, 2), 0.0)
    wanted = {label: sum(f for f, here in zip(flagged, labels, strict=True) if here == label) for label in set(labels)}
    for _ in range(draws):
        picked: dict[str, set[int]] = {}
        for name, column in scores.items():
            picked[name] = set()
            for label, k in wanted.items():
                here = [i for i, of in enumerate(labels) if of == label and column[i] is not None]
                here.sort(key=lambda i: (-float(column[i] or 0.0), rng.random()))
                picked[name] |= set(here[:k])
        for one, other in sums:
            sums[one, other] += len(picked[one] & picked[other]) / min(len(picked[one]), len(picked[other]))
    return {two: total / draws for two, total in sums.items()}


def test_shares_are_those_of_sets_of_the_most_suspect_with_ties_broken_by_chance() -> None:
    rng = np.random.default_rng(1)
    labels = [0] * 40 + [1] * 25
    flagged = [bool(x) for x in rng.random(65) < 0.2]
    base = rng.random(65)
    scores: Scores = {
        "loss": [float(x) for x in base],
        "near": [float(x) for x in base + rng.normal(0, 0.1, 65)],
        "rough": [float(x) for x in np.round(base, 1)],
        "few": [float(x) if i % 3 else None for i, x in enumerate(rng.random(65))],
        "same": [1.0] * 65,
    }
    found = _overlap(made(labels, flagged, **scores), 0)
    assert found is not None
    assert set(found.names) == {*scores, FLAGS}
    for (one, other), share in drawn(labels, flagged, scores, 3000).items():
        assert found.between(one, other) == pytest.approx(share, abs=0.02), (one, other)
        assert found.between(one, other) == found.between(other, one)
    picks = {i for label in (0, 1) for i in _top(scores["loss"], labels, flagged, label)}
    both = sum(flagged[i] for i in picks)
    assert found.between("loss", FLAGS) == pytest.approx(both / sum(flagged))
    assert found.picked == sum(flagged)
    sizes = [(sum(f for f, of in zip(flagged, labels, strict=True) if of == one), labels.count(one)) for one in (0, 1)]
    assert found.chance == pytest.approx(sum(k * k / n for k, n in sizes) / sum(flagged))
    assert found.between("same", "loss") == pytest.approx(found.chance)


def _top(column: list[float | None], labels: list[int], flagged: list[bool], label: int) -> list[int]:
    here = [i for i, of in enumerate(labels) if of == label]
    return sorted(here, key=lambda i: -float(column[i] or 0.0))[: sum(flagged[i] for i in here)]


def test_those_that_pick_alike_stand_beside_each_other() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.random(200), rng.random(200)
    scores: Scores = {
        f"{kind}{n}": [float(x) for x in base + rng.normal(0, 0.02, 200)]
        for n in range(3)
        for kind, base in (("one", one), ("other", other))
    }
    found = _overlap(made([0] * 200, [i < 40 for i in range(200)], **scores), 0)
    assert found is not None
    kinds = [name[:-1] for name in found.names if name != FLAGS]
    assert sum(a != b for a, b in pairwise(kinds)) == 1


def test_where_nothing_was_flagged_each_picks_a_twentieth() -> None:
    scores: Scores = {"loss": [float(i) for i in range(100)], "aum": [float(-i) for i in range(100)]}
    found = _overlap(made([0] * 60 + [1] * 40, [False] * 100, **scores), 0)
    assert found is not None
    assert not found.by_flags
    assert FLAGS not in found.names
    assert (found.picked, found.pairs) == (round(60 * TWENTIETH) + round(40 * TWENTIETH), 100)
    assert found.between("loss", "aum") == 0.0
    assert [two[:2] for two in found.pairs_of_detectors()] == [found.names]


@pytest.fixture
def looked(site: Site) -> list[Overlap | None]:
    return [overlap(site.round, observed) for observed in (0, 1)]


def test_a_real_round_file_tells_it_of_both_recorded_values_and_keeps_it(
    site: Site, looked: list[Overlap | None]
) -> None:
    for observed, found in enumerate(looked):
        assert found is not None
        rows = site.round.rows("SELECT count(*) FROM detector_wide WHERE observed = ?", (observed,))
        assert found.pairs == rows[0][0]
        assert overlap(site.round, observed) is found


def test_one_detector_alone_overlaps_with_none() -> None:
    assert _overlap(made([0, 0], [True, False], loss=[0.1, 0.2]), 0) is None
