"""What the search for malformed inputs found: each class of hole, closed at its reader."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_store import guidelines
from audit_store.chart import Chart
from audit_store.database import open_store
from audit_store.errors import RoundError, StoreError, WorkspaceError
from audit_store.people import disable_person, operator, resume_session
from audit_store.rounds import open_round, publish_round
from audit_store.verify import hold_or_refuse
from audit_store.workspace import create_workspace, open_workspace
from core.cohort.cache import cached
from core.cohort.store import read_manifest
from core.config import make_config
from core.errors import CohortError, ConfigError, RunError
from core.models.notes import NoteConfig, TfidfSvd
from scripts.bridge import Start, begin
from scripts.cli import guarded
from scripts.running import parse_settings

DEEP = "[" * 100_000 + "]" * 100_000
LABEL = {"key": "sepsis", "name": "Sepsis", "persistence": "acute"}
MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "labels": [LABEL],
    "channels": [{"name": "heart_rate", "model": True, "impute": 80, "codes": None}],
    "primary_source": "icd",
    "tables": {"stays": "0"},
    "fingerprint": "0",
    "counts": {"stays": 1, "patients": 1},
    "cutoff_hours": 48.0,
}
SPOILT: list[tuple[str, Any]] = [
    ("labels", []),
    ("labels", {"sepsis": LABEL}),
    ("labels", [LABEL, LABEL]),
    ("labels", [{**LABEL, "key": None}]),
    ("label_groups", [{"key": "g", "labels": "sepsis"}]),
    ("channels", [{"name": 1}]),
    ("channels", [{"name": "x", "codes": ["one"]}]),
    ("tables", ["stays"]),
    ("fingerprint", 7),
    ("primary_source", None),
    ("cutoff_hours", "48"),
    ("cutoff_hours", float("nan")),
]


@pytest.mark.parametrize(("field", "value"), SPOILT, ids=lambda value: str(value)[:30])
def test_a_manifest_of_another_form_names_its_field(tmp_path: Path, field: str, value: Any) -> None:
    workspace = create_workspace(tmp_path / "ws")
    workspace.cohort.mkdir()
    path = workspace.cohort / "manifest.json"
    path.write_text(json.dumps(MANIFEST), encoding="utf-8")
    assert read_manifest(workspace.cohort) == workspace.manifest() == MANIFEST
    path.write_text(json.dumps({**MANIFEST, field: value}), encoding="utf-8")
    with pytest.raises(CohortError, match=f"expected {field} "):
        read_manifest(workspace.cohort)
    with pytest.raises(WorkspaceError, match=f"expected {field} "):
        workspace.manifest()


@pytest.mark.parametrize(
    "reader", ["workspace", "manifest", "trainer's manifest", "digest", "round.json", "start", "head"]
)
def test_json_nested_too_deep_is_refused_like_any_other_that_is_none(tmp_path: Path, reader: str) -> None:
    workspace = create_workspace(tmp_path / "ws")
    workspace.cohort.mkdir()
    store = open_store(workspace)
    (workspace.rounds / "round-0001.duckdb").touch()
    run = workspace.run_folder(2)
    run.mkdir(parents=True)
    read: dict[str, tuple[Path, Callable[[], object]]] = {
        "workspace": (workspace.root / "workspace.json", lambda: open_workspace(workspace.root)),
        "manifest": (workspace.cohort / "manifest.json", workspace.manifest),
        "trainer's manifest": (workspace.cohort / "manifest.json", lambda: read_manifest(workspace.cohort)),
        "digest": (workspace.round_digest_path(1), lambda: open_round(workspace, 1)),
        "round.json": (tmp_path / "r.json", lambda: publish_round(store, 3, tmp_path / "r.json", {}, operator())),
        "start": (run / "start.json", lambda: begin(store, 2)),
        "head": (workspace.head_file, lambda: hold_or_refuse(store)),
    }
    path, act = read[reader]
    path.write_text(DEEP, encoding="utf-8")
    with pytest.raises((StoreError, CohortError, RunError)):
        act()
    store.close()


def test_a_cached_entry_whose_fields_were_changed_is_built_again(tmp_path: Path) -> None:
    built: list[int] = []

    def build() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        built.append(1)
        return {"vectors": np.ones(2)}, {"vocabulary": ["a"]}

    for _ in range(2):
        assert cached(tmp_path, "notes", {"of": 1}, build)[1] == {"vocabulary": ["a"]}
    assert len(built) == 1
    index = next(tmp_path.glob("notes-*/index.json"))
    index.write_text(json.dumps({**json.loads(index.read_text(encoding="utf-8")), "fields": {}}), encoding="utf-8")
    assert cached(tmp_path, "notes", {"of": 1}, build)[1] == {"vocabulary": ["a"]}
    assert len(built) == 2


def chart_cohort(folder: Path, change: Callable[[str, pa.Table], pa.Table]) -> Path:
    """The smallest cohort that a chart opens, one table of it changed."""
    folder.mkdir()
    one: dict[str, dict[str, pa.Array]] = {
        "stays": {
            "stay_id": pa.array([1], pa.int64()), "patient_id": pa.array([1], pa.int64()),
            "patient_key": pa.array(["p"]), "hospital_stay_id": pa.nulls(1, pa.int64()),
            "visit": pa.array([1], pa.int32()), "visit_order": pa.array(["exact"]),
            "admitted_at": pa.nulls(1, pa.timestamp("us")), "los_hours": pa.array([20.0]),
            "age": pa.array([70.0], pa.float32()), "sex": pa.array(["F"]), "has_series": pa.array([False]),
            "has_note": pa.array([False]),
        },
        "observations": {
            "stay_id": pa.array([1], pa.int64()), "hour": pa.array([1.0], pa.float32()),
            "channel": pa.array(["heart_rate"]), "value": pa.array([80.0], pa.float32()),
            "category": pa.nulls(1, pa.string()),
        },
        "notes": {
            "stay_id": pa.array([1], pa.int64()), "note_id": pa.array([1], pa.int64()),
            "hour": pa.array([1.0], pa.float32()), "category": pa.array(["x"]), "text": pa.array(["words"]),
            "model_start": pa.array([0], pa.int32()), "model_end": pa.array([5], pa.int32()),
        },
        "labels": {
            "stay_id": pa.array([1], pa.int64()), "label": pa.array(["sepsis"]), "source": pa.array(["icd"]),
            "observed": pa.array([1], pa.uint8()), "code": pa.nulls(1, pa.string()),
        },
        "review_evidence": {
            "stay_id": pa.array([1], pa.int64()), "hour": pa.array([1.0], pa.float32()), "kind": pa.array(["drug"]),
            "name": pa.array(["x"]), "value": pa.nulls(1, pa.float32()), "unit": pa.nulls(1, pa.string()),
            "text": pa.nulls(1, pa.string()), "source": pa.array(["x"]),
        },
    }  # fmt: skip
    for name, columns in one.items():
        pq.write_table(change(name, pa.table(columns)), folder / f"{name}.parquet")
    (folder / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    return folder


def only(wanted: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[str, pa.Table], pa.Table]:
    return lambda name, table: change(table) if name == wanted else table


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        ("labels", lambda t: t.drop_columns(["label"]), "labels.parquet with column label once; got no columns"),
        ("notes", lambda t: t.append_column("text", t["text"]), "notes.parquet with column text once; got 2 columns"),
        ("observations", lambda t: t.set_column(1, "hour", pa.array(["1"])), "column hour, as float; got string"),
        (
            "notes",
            lambda t: t.set_column(4, "text", pa.nulls(1, pa.string())),
            "column text, without gaps; got 1 empty",
        ),
        ("stays", lambda t: t.set_column(1, "patient_id", pa.nulls(1, pa.int64())), "patient_id, without gaps"),
    ],
    ids=["a column missing", "a column twice", "another type", "a gap", "a stay of nobody"],
)
def test_a_chart_says_which_column_of_which_table_is_wrong(
    tmp_path: Path, table: str, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    assert Chart.open(chart_cohort(tmp_path / "whole", lambda _, made: made)).record(1).notes[0].text == "words"
    with pytest.raises(WorkspaceError) as caught:
        Chart.open(chart_cohort(tmp_path / "spoilt", only(table, change))).record(1)
    assert says in str(caught.value)


def test_a_round_table_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    store = open_store(create_workspace(tmp_path / "ws"))
    from scripts.benchmarks.trust_base import round_info

    twice = pa.table({"label_id": pa.array([0], pa.int16())}).append_column("label_id", pa.array([0], pa.int16()))
    names = ("label", "pair", "mixture", "epoch", "evidence", "detector_score")
    with pytest.raises(RoundError, match="label with each column once; got label_id twice"):
        publish_round(store, 1, round_info(1, "0", 0), dict.fromkeys(names, twice), operator())
    with pytest.raises(RoundError, match="its config in JSON"):
        publish_round(
            store, 1, {**round_info(1, "0", 0), "config": float("nan")}, dict.fromkeys(names, twice), operator()
        )
    with pytest.raises(RoundError, match="its config in JSON"):
        publish_round(store, 1, {**round_info(1, "0", 0), "config": 7}, dict.fromkeys(names, twice), operator())
    assert not list(store.workspace.rounds.iterdir())
    store.close()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[[reason]]\n", '[[reason]]\ncode = "alone"\n[[reason]]\n', r"\[\[reason\]\] with a code and a text each"),
        ("[group.diabetes]", "[[group]]", r"tables \[group"),
        ("[[group.diabetes.answer]]", "[[group.diabetes.other]]", r"labels and answers"),
    ],
    ids=["a reason without text", "a list of groups", "a group without answers"],
)
def test_guidelines_of_another_form_are_refused(tmp_path: Path, before: str, after: str, says: str) -> None:
    text = guidelines.SHIPPED.read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "guidelines.toml"
    path.write_text(text.replace(before, after, -1 if "group" in before else 1), encoding="utf-8")
    with pytest.raises(guidelines.GuidelineError, match=says):
        guidelines.read(path)


def test_a_number_too_large_for_a_computer_is_refused_and_told_without_its_digits() -> None:
    with pytest.raises(ConfigError, match="one too large"):
        make_config(**{"optim.learning_rate": 10**400})
    with pytest.raises(ConfigError, match="a number of many digits"):
        make_config(**{"model.packed": 10**400})


@pytest.mark.parametrize("name", ["size", "preset"])
def test_what_has_an_option_of_its_own_is_no_setting(name: str) -> None:
    with pytest.raises(ConfigError, match=f"give --{name} instead"):
        parse_settings([f"{name}=paper"])


@pytest.mark.parametrize(
    "change",
    [{"round_id": 2}, {"decisions_count": 1e308}, {"decisions_last_id": True}, {"parent": "1"}, {"decisions_head": 7}],
)
def test_a_start_of_another_form_begins_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    store = open_store(create_workspace(tmp_path / "ws"))
    start, _ = begin(store, 1)
    assert begin(store, 1)[0] == start == Start(1, None, 0, 0, "0" * 64)
    path = store.workspace.run_folder(1) / "start.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(RunError, match="--fresh"):
        begin(store, 1)
    store.close()


def test_an_encoder_takes_up_no_arrays_of_another_size() -> None:
    encoder = TfidfSvd(NoteConfig(dim=2))
    whole = {"idf": np.ones(2), "components": np.ones((2, 2), np.float32)}
    encoder.restore({"vocabulary": ["a", "b"]}, whole)
    for vocabulary in (["a"], ["a", "a"], ["a", 1]):
        with pytest.raises(ValueError, match=r"terms|arrays"):
            encoder.restore({"vocabulary": vocabulary}, whole)
    assert encoder.vocabulary == ["a", "b"]


def test_half_of_a_character_is_no_name_and_no_ticket(tmp_path: Path) -> None:
    store = open_store(create_workspace(tmp_path / "ws"))
    with pytest.raises(StoreError, match="text that can be stored"):
        disable_person(store, operator(), "\ud800")
    assert resume_session(store, "\ud800") is None
    store.close()


def test_what_a_disk_refuses_is_one_line_without_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def act(**options: object) -> object:
        raise OSError(28, "No space left on device", str(tmp_path / "rounds" / "round-0001.duckdb"))

    assert guarded(act) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("miracl: expected a disk")
    assert "No space left on device (round-0001.duckdb)" in line
    assert str(tmp_path) not in line
