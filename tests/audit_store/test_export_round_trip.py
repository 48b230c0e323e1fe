"""Build, review, export, and build again from what was exported: every label comes back."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from audit_store.database import open_store
from audit_store.decisions import Reading, new_token, record
from audit_store.export_manifest import read_manifest
from audit_store.exports import export_labels
from audit_store.labels import Policy
from audit_store.people import add_person, operator
from audit_store.rounds import open_round, publish_round
from audit_store.workspace import create_workspace
from core.cohort.labels_add import add_labels
from core.cohort.labels_in import LabelsIn, with_labels
from core.cohort.sources.mimic3 import build_mimic3
from core.cohort.store import read_manifest as cohort_manifest
from tests.core.naive import mimic3_benchmark as naive

from .conftest import PASSWORD, Site, round_info, round_tables

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
DEMO, RESOURCES = DATA / "mimic-iii-demo", DATA / "resources" / "mimic3benchmark"
MakeSite = Callable[..., Site]
Said = dict[tuple[int, str], int]


def cleaned_in(folder: Path) -> Said:
    """What the long form says."""
    long = pq.read_table(folder / "labels_long.parquet").to_pylist()
    return {(row["stay_id"], row["label"]): row["cleaned"] for row in long}


def come_back(cohort: Path, file: Path, source: str = "again") -> Said:
    """What a cohort makes of a file."""
    stays, labels = (pq.read_table(cohort / f"{name}.parquet") for name in ("stays", "labels"))
    made, _ = with_labels(stays, labels, cohort_manifest(cohort), LabelsIn(file, source=source))
    return said_by(made, source)


def said_by(labels: pa.Table, source: str) -> Said:
    return {(r["stay_id"], r["label"]): r["observed"] for r in labels.to_pylist() if r["source"] == source}


def test_what_readers_left_comes_back_from_every_form_of_any_cohort(make_site: MakeSite) -> None:
    site = make_site(20, 6, uncoded=3)
    for pair in site.singles()[:5]:
        site.say("ann", *pair, "present" if site.round.stated(*pair)[0] == 0 else "absent")
    folder = export_labels(site.store, 1, operator(), Policy(auto_threshold=0.9))
    wanted, cohort = cleaned_in(folder), site.workspace.cohort
    before = said_by(pq.read_table(cohort / "labels.parquet"), "icd")
    assert len(wanted) == len(before) == 17 * 6
    assert sum(wanted[pair] != before[pair] for pair in wanted) > 5
    for name in ("labels_wide.csv", "listfile.csv"):
        assert come_back(cohort, folder / name) == wanted, name
    manifest = add_labels(cohort, LabelsIn(folder / "labels_long.csv", source="reviewed"))
    assert manifest["primary_source"] == "reviewed"
    assert said_by(pq.read_table(cohort / "labels.parquet"), "reviewed") == wanted
    assert said_by(pq.read_table(cohort / "labels.parquet"), "icd") == before


def benchmark_lines(changed: dict[tuple[int, str], int]) -> dict[int, str]:
    """The line of each stay in the benchmark's listfile, by its procedure restated naively; some labels changed."""
    kept = naive.stays(DEMO)
    coded = naive.labels(DEMO, RESOURCES, kept)
    lines = {}
    for stay in kept:
        mine = sorted(s["begin"] for s in kept if s["subject"] == stay["subject"])
        number = int(str(stay["stay"]))
        values = {**coded[number], **{name: value for (one, name), value in changed.items() if one == number}}
        labels = ",".join(str(values[name]) for name in sorted(values))
        episode = mine.index(stay["begin"]) + 1
        lines[number] = f"{stay['subject']}_episode{episode}_timeseries.csv,{stay['los']:.6f},{labels}\n"
    return lines


@pytest.mark.data
@pytest.mark.skipif(not DEMO.is_dir(), reason="the MIMIC-III demo is not under ../shared/data/mimic-iii-demo")
def test_mimic_s_labels_come_back_from_listfiles_that_are_the_benchmark_s(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "space")
    manifest = build_mimic3(DEMO, workspace.cohort)
    stays, labels = (pq.read_table(workspace.cohort / f"{name}.parquet") for name in ("stays", "labels"))
    store = open_store(workspace)
    keys = [str(label["key"]) for label in manifest["labels"]]
    primary = labels.filter(pc.equal(labels["source"], manifest["primary_source"]))
    tables = round_tables(stays, primary, keys)
    publish_round(store, 1, round_info(1, manifest["fingerprint"]), tables, operator())
    ann = add_person(store, operator(), "ann", PASSWORD)
    stay, key, observed = open_round(workspace, 1).rows(
        "SELECT stay_id, label_key, observed FROM flag JOIN label USING (label_id) WHERE label_group IS NULL LIMIT 1"
    )[0]
    record(store, ann, Reading(1, int(stay), str(key), "absent" if observed else "present"), new_token())
    folder = export_labels(store, 1, operator(), forms=("long", "listfile", "mimic3-benchmarks", "flexcare"))
    wanted, said = cleaned_in(folder), read_manifest(folder)
    assert said is not None
    assert come_back(workspace.cohort, folder / "listfile.csv") == wanted
    silent = {r["stay_id"] for r in stays.to_pylist() if not r["has_series"]}  # the benchmark has no file for these
    assert said["left_out"]["flexcare"] == {"without a series": len(silent), "with a label not stated": 0}
    listed = {pair: value for pair, value in wanted.items() if pair[0] not in silent}
    lists = folder / "mimic3-benchmarks" / "phenotyping"
    train, test = (come_back(workspace.cohort, lists / part / "listfile.csv") for part in ("train", "test"))
    assert {**train, **test} == listed
    assert not train.keys() & test.keys()
    assert come_back(workspace.cohort, lists) == listed  # a folder stands for both
    names = {str(label["key"]): str(label["name"]) for label in manifest["labels"]}
    lines = benchmark_lines({(int(stay), names[str(key)]): 1 - int(observed)})
    for part, split in (("train", {s for s, _ in train}), ("test", {s for s, _ in test})):
        body = (lists / part / "listfile.csv").read_text().splitlines(keepends=True)
        assert body[0] == f"stay,period_length,{','.join(sorted(names.values()))}\n"
        assert body[1:] == sorted(lines[one] for one in split)
    assert {stay for stay, _ in test} <= {r["stay_id"] for r in stays.to_pylist() if r["split"] == "test"}
    assert come_back(workspace.cohort, folder / "flexcare" / "phenotyping" / "listfile.csv") == listed
    assert wanted[int(stay), str(key)] != observed
    store.close()
