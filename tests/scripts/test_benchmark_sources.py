"""The table of label sources: its jobs, a run of each kind at a tiny size, and its Markdown."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from core.methods.sources import LabelSources
from core.noise.annotators import simulate_sources
from scripts.benchmarks import sources
from scripts.benchmarks.robustness import Plan, quick
from scripts.benchmarks.rows import SCHEMAS, Row, read_rows, write_rows
from scripts.benchmarks.runner import Place


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    place = Place(tmp_path_factory.mktemp("sources"))
    return quick(Plan((), (), range(2), "synthetic-4000", "compact", 30, place))


def test_clean_labels_are_learned_once_a_seed_whatever_the_sources(plan: Plan) -> None:
    made = sources.jobs(plan)
    assert len(made) == 1 + (len(sources.VARIANTS) - 1) * len(sources.SCENARIOS)
    assert [job.noise for job in made if job.method == "clean"] == [sources.ANY]
    assert len({job.key for job in made}) == len(made)
    assert len({sources.digest(job) for job in made}) == 7  # the first two rows have the same options


@pytest.mark.parametrize(
    ("variants", "scenarios", "says"),
    [(("best",), (), "variants among"), ((), ("loud",), "scenarios among")],
    ids=["variant", "scenario"],
)
def test_unknown_names_are_refused(plan: Plan, variants: tuple[str, ...], scenarios: tuple[str, ...], says: str):
    with pytest.raises(ConfigError, match=says):
        sources.jobs(plan, variants, scenarios)


def test_a_cohort_without_known_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clean labels"):
        sources.jobs(Plan((), (), range(1), "eicu-demo", "compact", 30, Place(tmp_path)))


def test_every_scenario_can_be_simulated() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 25)) < 0.2).astype(np.uint8)
    member = np.ones_like(truth, dtype=np.bool_)
    for scenario in sources.SCENARIOS.values():
        made = simulate_sources(truth, member, scenario.sources, np.random.default_rng(1))
        accuracy = sources.source_accuracy(made, truth, member)
        assert accuracy.shape == (len(scenario.sources.sources),)
        assert ((accuracy > 0.5) & (accuracy < 1)).all()


def test_accuracy_counts_what_a_source_states_of_the_members() -> None:
    said = np.array([[[1, 0]], [[1, 1]], [[0, 0]]], np.float32)
    available = np.array([[[True, True]], [[True, False]], [[False, False]]])
    made = LabelSources(said, available, ("a", "b", "c"))
    truth, member = np.array([[1, 1]], np.uint8), np.ones((1, 2), np.bool_)
    assert sources.source_accuracy(made, truth, member).tolist() == [0.5, 1, 0]


def test_a_run_of_each_kind_yields_a_row_that_the_table_shows(plan: Plan, tmp_path: Path) -> None:
    wanted = ("clean", "single_best", "dawid_skene", "attention_cheap")
    heard: list[str] = []
    made = sources.rows(sources.jobs(plan, wanted, ("careful",)), lambda job, _row: heard.append(job.method))
    assert heard == list(wanted)
    assert all(set(row) <= set(SCHEMAS["sources"].names) for row in made)
    found: dict[str, Row] = {row["method"]: row for row in made}
    assert found["clean"]["accuracy_before"] == found["clean"]["accuracy_after"] == 1
    assert found["single_best"]["accuracy_before"] == pytest.approx(max(found["single_best"]["source_accuracy"]))
    assert found["dawid_skene"]["accuracy_after"] > found["dawid_skene"]["accuracy_before"]
    assert found["dawid_skene"]["ece_positive"] is not None
    assert sum(found["attention_cheap"]["source_weight"]) == pytest.approx(1)
    write_rows(tmp_path, {"sources": made})
    text = sources.markdown(read_rows(tmp_path, "sources"))
    assert "| BCE on clean labels (not to be had) |" in text
    assert "one careless, one careful: careful" in text
    assert "other options" not in text
    best = max(("dawid_skene", "attention_cheap"), key=lambda name: found[name]["map"])
    assert text.split("Share of training")[0].count("**.") == 1
    assert f"| {sources.VARIANTS[best].title} | **." in text
