"""The page about a cohort: its counts against a plain restatement, what it must not show, and that it stands alone."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from core.cohort.describe import describe, measure
from core.cohort.sources.synthetic import build_synthetic
from core.cohort.store import open_cohort, read_manifest, write_cohort
from core.errors import CohortError, ConfigError

FEW = 10


class Whole:
    """A cohort as frames, and what was measured of it with and without small cells."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_manifest(folder)
        cohort = open_cohort(folder)
        self.stays, self.labels = cohort.stays.to_pandas(), cohort.labels.to_pandas()
        self.observations, self.notes = cohort.observations.to_pandas(), cohort.notes.to_pandas()
        self.all = measure(folder, self.manifest, min_cell=1)
        self.shown = measure(folder, self.manifest, min_cell=FEW)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("describe") / "cohort"
    build_synthetic(folder, stays=220, seed=5)
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in read_manifest(folder)["tables"]}
    labels = tables["labels"].to_pandas()
    gone = labels.stay_id.isin(sorted(labels.stay_id.unique())[:30])
    few = labels.stay_id.isin(sorted(labels.stay_id.unique())[30:34])
    labels["observed"] = np.where(labels.label == "shock", ~few, labels.observed).astype(np.uint8)
    other = labels.assign(source="notes")
    stays, observations = (tables[name].to_pandas() for name in ("stays", "observations"))
    late = stays[["stay_id"]].assign(
        hour=stays.los_hours.clip(upper=40) + 1, channel="heart_rate", value=80, category=None
    )
    tables["observations"] = type(tables["labels"]).from_pandas(
        pd.concat([observations, late.astype(observations.dtypes)]), preserve_index=False
    )
    tables["labels"] = type(tables["labels"]).from_pandas(
        pd.concat([labels[~gone], other[~gone & (other.label < "d")]]), preserve_index=False
    )
    again = tmp_path_factory.mktemp("described") / "cohort"
    write_cohort(again, tables, {**read_manifest(folder), "attrition": ATTRITION, "not_recorded": 30})
    return Whole(again)


ATTRITION: list[dict[str, Any]] = [
    {"criterion": "in the source", "in": 1000, "removed": 0, "out": 1000},
    {"criterion": "adults", "in": 1000, "removed": 3, "out": 997},
    {"criterion": "one unit", "in": 997, "removed": 600, "out": 397},
    {"criterion": "with data", "in": 397, "removed": 170, "out": 227},
    {"criterion": "longer than nothing", "in": 227, "removed": 7, "out": 220},
    {"criterion": "kept as not recorded: 30 stays", "in": 220, "removed": 0, "out": 220},
]


def test_prevalences_are_those_of_a_plain_count_and_their_intervals_hold_them(whole: Whole) -> None:
    mine = whole.labels[whole.labels.source == whole.manifest["primary_source"]].merge(whole.stays, on="stay_id")
    for label, row in zip(whole.manifest["labels"], whole.all["labels"], strict=True):
        for split in ("train", "test"):
            chosen = mine[(mine.label == label["key"]) & (mine.split == split)].observed
            if row[split] is None:
                assert chosen.sum() == 0
                continue
            assert row[split]["n"] == chosen.sum()
            assert row[split]["share"] == pytest.approx(chosen.mean())
            assert row[split]["low"] < chosen.mean() < row[split]["high"]


def test_lift_is_how_often_two_labels_stand_together_over_what_chance_would_give(whole: Whole) -> None:
    mine = whole.labels[whole.labels.source == whole.manifest["primary_source"]]
    wide = mine.pivot(index="stay_id", columns="label", values="observed")
    keys = [label["key"] for label in whole.manifest["labels"]]
    for i, a in enumerate(keys):
        for j, b in enumerate(keys):
            both = (wide[a] * wide[b]).mean()
            if i == j or not both:
                assert whole.all["together"][i][j] is None
            else:
                assert whole.all["together"][i][j] == pytest.approx(both / (wide[a].mean() * wide[b].mean()))


def test_hourly_coverage_counts_only_stays_that_are_still_there(whole: Whole) -> None:
    rows = whole.observations.merge(whole.stays, on="stay_id")
    rows = rows[(rows.hour >= 0) & (rows.hour < 48)].assign(h=lambda frame: np.floor(frame.hour))
    names = [c["name"] for c in whole.manifest["channels"] if c["model"]]
    assert [row["name"] for row in whole.all["hourly"]] == [
        c["title"] for c in whole.manifest["channels"] if c["model"]
    ]
    for name, row in zip(names, whole.all["hourly"], strict=True):
        for hour in (0, 7, 40):
            there = whole.stays[whole.stays.los_hours > hour].stay_id
            having = rows[(rows.channel == name) & (rows.h == hour) & rows.stay_id.isin(there)].stay_id.nunique()
            assert row["shares"][hour] == pytest.approx(having / len(there))


def test_channels_notes_and_visits_are_those_of_a_plain_count(whole: Whole) -> None:
    early = whole.observations[(whole.observations.hour >= 0) & (whole.observations.hour < 48)]
    shares = early.groupby("channel").stay_id.nunique() / len(whole.stays)
    titles = {c["name"]: c["title"] for c in whole.manifest["channels"]}
    for name, share in shares.items():
        assert next(c for c in whole.all["channels"] if c["name"] == titles[name])["share"] == pytest.approx(share)
    for row in whole.all["notes"]:
        mine = whole.notes[whole.notes.category == row["name"]]
        assert (row["n"], row["stays"]) == (len(mine), mine.stay_id.nunique())
        assert row["lengths"] == pytest.approx(mine.text.str.len().quantile([0.25, 0.5, 0.75]).tolist())
    visits = whole.stays.groupby("patient_id").size().clip(upper=5).value_counts().sort_index()
    assert [row["n"] for row in whole.all["visits"] if row["n"]] == visits.tolist()


def test_each_class_of_a_histogram_is_shown_or_told_together_with_its_neighbour(whole: Whole) -> None:
    for name in ("ages", "los", "series", "visits"):
        shown = whole.shown[name]
        assert all(row["n"] is not None for row in shown)
        assert sum(row["n"] for row in shown) == sum(row["n"] for row in whole.all[name])
        assert len(shown) <= len(whole.all[name])
    patients = whole.stays.groupby("patient_id").size()
    assert all(row["n"] == 0 or row["n"] >= FEW for row in whole.shown["visits"])
    assert len(whole.shown["visits"]) < len(whole.all["visits"]) or (patients >= 5).sum() >= FEW


def test_no_count_that_fewer_patients_than_asked_stand_behind_is_given(whole: Whole) -> None:
    mine = whole.labels[whole.labels.source == whole.manifest["primary_source"]].merge(whole.stays, on="stay_id")
    hidden = 0
    for label, row in zip(whole.manifest["labels"], whole.shown["labels"], strict=True):
        for split in ("train", "test"):
            chosen = mine[(mine.label == label["key"]) & (mine.split == split)]
            few = min(chosen[chosen.observed == value].patient_id.nunique() for value in (0, 1)) < FEW
            assert (row[split] is None) is few
            hidden += few
    assert hidden
    removed = [row["removed"] for row in whole.shown["attrition"]]
    assert removed == [0, 603, 177]
    assert whole.shown["attrition"][-1]["out"] == 220


def test_sources_tell_how_often_they_say_the_same_as_the_corrected_one(whole: Whole) -> None:
    primary, notes = sorted(whole.all["sources"], key=lambda row: not row["primary"])
    assert (primary["name"], notes["name"]) == (whole.manifest["primary_source"], "notes")
    assert notes["both"] == notes["stated"] == (whole.labels.source == "notes").sum()
    assert notes["same"] == 1.0
    assert (notes["only_here"], notes["only_primary"]) == (0, 0)


def test_the_page_stands_alone_and_names_nobody(whole: Whole, tmp_path: Path) -> None:
    out = describe(whole.folder, tmp_path / "deep" / "page.html")
    text = out.read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|<img|<iframe|https?:|url\(|@import", text)
    assert "default-src 'none'" in text
    numbers = set(re.findall(r"\d+", text.replace(",", "")))
    for name in ("stay_id", "patient_id"):
        assert not numbers & {str(n) for n in whole.stays[name] if n > 10_000}
    assert not any(str(key) in text for key in whole.stays.patient_key if len(str(key)) > 5)
    for note in whole.notes.text.head(40):
        assert note[:40] not in text
    assert "30 stays have no label stated" in text
    assert len(list(out.parent.iterdir())) == 1
    again = describe(whole.folder, tmp_path / "again.html")
    assert again.read_bytes() == out.read_bytes()


def test_examples_of_coverage_hold_no_key_and_none_are_drawn_from_too_few_patients(whole: Whole) -> None:
    lines = whole.shown["raster"]["lines"]
    assert len(lines) == 60
    assert all(set(line) == {"los", "cells"} for line in lines)
    assert max(k for line in lines for k in line["cells"].values()) <= whole.shown["raster"]["channels"] == 17
    assert measure(whole.folder, whole.manifest, min_cell=10_000)["raster"] is None


def test_a_missing_or_damaged_table_and_a_cell_of_none_are_one_line_and_the_old_page_stays(
    whole: Whole, tmp_path: Path
) -> None:
    with pytest.raises(CohortError, match="no manifest"):
        describe(tmp_path, tmp_path / "page.html")
    with pytest.raises(ConfigError, match="smallest cell"):
        measure(whole.folder, whole.manifest, min_cell=0)
    folder = tmp_path / "cohort"
    folder.mkdir()
    for path in whole.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "labels.parquet").write_bytes(b"PAR1")
    (tmp_path / "page.html").write_text("before")
    with pytest.raises(CohortError, match="cut short or damaged"):
        describe(folder, tmp_path / "page.html")
    (folder / "labels.parquet").unlink()
    with pytest.raises(CohortError, match=r"labels\.parquet"):
        describe(folder, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "before"
