"""The preview of an export says what the written files then hold; files are checked and handed out."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_store import export_files
from audit_store.adjudication import adjudicate
from audit_store.decisions import new_token
from audit_store.errors import AccessError, ExportError
from audit_store.export_files import check_export, read_for_download
from audit_store.export_preview import first_changes, preview, threshold_curve
from audit_store.exports import export_labels, read_manifest
from audit_store.labels import Policy
from audit_store.ledger import trail
from audit_store.people import operator
from audit_store.rounds import open_round, publish_round
from audit_store.schema import BASES
from tests.audit_store.conftest import Site, round_info

ANSWERS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["ann", "ben", "cat"]),
        st.sampled_from(["present", "absent", "cannot_tell"]),
        st.sampled_from(["high", "low"]),
    ),
    max_size=12,
    unique_by=lambda answer: answer[:2],
)
POLICIES = st.builds(Policy, auto_threshold=st.sampled_from([None, 0.2, 0.6, 0.95, 1.0]), low_certainty=st.booleans())


@pytest.fixture
def calibrated(make_site: Callable[..., Site]) -> Site:
    """A small site whose one round says that its scores are probabilities."""
    site = make_site(n_stays=10, n_labels=4, train=False)
    info = round_info(1, site.manifest["fingerprint"], calibrated=True)
    publish_round(site.store, 1, info, site.tables(share=0.4), operator())
    return site


def restated(frame: pd.DataFrame) -> dict[str, Any]:
    """What the written long form holds, counted without a database."""
    changed = frame["observed"] != frame["cleaned"]
    return {
        "pairs": len(frame),
        "changed": int(changed.sum()),
        "added": int((changed & (frame["cleaned"] == 1)).sum()),
        "removed": int((changed & (frame["cleaned"] == 0)).sum()),
        "basis": {name: int((frame["basis"] == name).sum()) for name in BASES},
    }


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=ANSWERS, policy=POLICIES)
def test_the_preview_is_what_the_written_file_then_holds(
    calibrated: Site, answers: list[tuple[int, str, str, str]], policy: Policy
) -> None:
    site = calibrated
    pairs = site.round.rows("SELECT stay_id, label_key FROM pair JOIN label USING (label_id) ORDER BY 1, 2 LIMIT 10")
    for place, who, answer, certainty in answers:
        known = site.store.memory.setdefault("answered", set())
        if (place, who) not in known:
            known.add((place, who))
            site.say(who, *pairs[place], answer, certainty=certainty)
    told = preview(site.store, site.round, policy)
    first = first_changes(site.store, site.round, policy, limit=1000)
    folder = export_labels(site.store, site.round, site.people["sam"], policy, ("parquet",))
    written = pd.read_parquet(folder / "labels_long.parquet")
    counted = restated(written)
    assert {name: getattr(told, name) for name in counted} == counted
    for row in told.labels.to_dict("records"):
        of_label = written[written["label"] == row["label_key"]]
        assert row["present_before"] == (of_label["observed"] == 1).sum()
        assert row["present_after"] == (of_label["cleaned"] == 1).sum()
        assert {name: row[name] for name in BASES} == restated(of_label)["basis"]
    changed = written[written["observed"] != written["cleaned"]]
    assert first[["stay_id", "label", "cleaned", "basis"]].to_numpy().tolist() == (
        changed[["stay_id", "label", "cleaned", "basis"]].to_numpy().tolist()
    )
    settled = written["basis"].isin(["kept", "relabelled", "adjudicated"])
    moved = written["basis"] == "auto_corrected"
    p = written["error_probability"].astype(float)
    differs = (written["observed"] != written["cleaned"]).astype(float)
    assert told.wrong_before == pytest.approx(float(p.where(~settled, differs).sum()), abs=1e-3)
    assert told.wrong_after == pytest.approx(float(p.where(~moved, 1 - p).where(~settled, 0.0).sum()), abs=1e-3)


def test_each_threshold_of_the_curve_changes_as_many_labels_as_an_export_at_it(calibrated: Site) -> None:
    curve = threshold_curve(calibrated.store, calibrated.round)
    assert (curve["added"] + curve["removed"]).is_monotonic_decreasing
    for place in (0, 10, 25, 45, 50):
        row = curve.iloc[place]
        told = preview(calibrated.store, calibrated.round, Policy(auto_threshold=float(row["threshold"])))
        assert told.basis["auto_corrected"] == row["added"] + row["removed"]
        assert (told.added, told.removed) == (row["added"], row["removed"])


def test_what_was_read_and_changes_nothing_is_told(site: Site) -> None:
    (torn, unsure, judged), people = site.singles()[:3], site.people
    site.say("ann", *torn, "present")
    site.say("ben", *torn, "absent")
    site.say("ann", *unsure, "cannot_tell")
    site.say("ann", *judged, "present")
    site.say("ben", *judged, "absent")
    adjudicate(site.store, people["ada"], 1, *judged, "cannot_tell", token=new_token())
    told = preview(site.store, site.round)
    assert told.waiting == {"conflict": 1, "answered": 1, "adjudicated": 1}
    assert told.changed == 0


def test_a_round_that_is_not_calibrated_expects_nothing(site: Site) -> None:
    told = preview(site.store, site.round)
    assert (told.wrong_before, told.wrong_after) == (None, None)
    assert told.labels["wrong_before"].isna().all()
    assert threshold_curve(site.store, site.round)["right"].isna().all()


def test_a_new_decision_is_in_the_next_preview(site: Site) -> None:
    pair = site.singles()[0]
    before = preview(site.store, site.round)
    assert preview(site.store, site.round) is before
    site.say("ann", *pair, "absent" if site.round.stated(*pair)[0] else "present")
    assert preview(site.store, site.round).changed == before.changed + 1


def test_an_export_is_as_written_until_someone_touches_it(site: Site) -> None:
    folder = export_labels(site.store, None, site.people["sam"], formats=("csv",))
    assert check_export(site.store, 1) == []
    with (folder / "labels_long.csv").open("a") as handle:
        handle.write("1\n")
    (folder / "listfile.csv").unlink()
    body = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(body + " ")
    assert check_export(site.store, 1) == [
        "manifest.json is not the one that the ledger noted",
        "labels_long.csv has changed since it was written",
        "listfile.csv is missing",
    ]
    assert check_export(site.store, 9) == ["manifest.json is missing or can't be read"]
    with pytest.raises(ExportError, match="a file that has changed"):
        read_for_download(site.store, site.people["sam"], 1, ["labels_long.csv"])


def test_files_are_handed_to_those_who_may_export_one_or_all_and_each_time_is_noted(site: Site) -> None:
    folder = export_labels(site.store, None, site.people["sam"])
    manifest = read_manifest(folder)
    assert manifest is not None
    names = [item["name"] for item in manifest["files"]]
    one = read_for_download(site.store, site.people["sam"], 1, ["labels_long.csv"])
    assert one == (folder / "labels_long.csv").read_bytes()
    packed = zipfile.ZipFile(
        io.BytesIO(read_for_download(site.store, site.people["sam"], 1, [*names, "manifest.json"]))
    )
    assert sorted(packed.namelist()) == sorted(f"export-0001/{name}" for name in [*names, "manifest.json"])
    assert packed.read("export-0001/listfile.csv") == (folder / "listfile.csv").read_bytes()
    noted = trail(site.store, kinds=("access",), limit=10)
    assert len(noted) == 2
    for who in ("ann", "ada", "aud"):
        with pytest.raises(AccessError):
            read_for_download(site.store, site.people[who], 1, ["manifest.json"])


@pytest.mark.parametrize("names", [[], ["../secret"], ["labels_long.csv", "decisions.sqlite"]])
def test_no_other_file_can_be_named(site: Site, names: list[str]) -> None:
    export_labels(site.store, None, site.people["sam"], formats=("csv",))
    with pytest.raises(ExportError, match="names of files of the export"):
        read_for_download(site.store, site.people["sam"], 1, names)


def test_more_than_a_page_can_hold_is_refused_with_where_it_lies(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    export_labels(site.store, None, site.people["sam"], formats=("csv",))
    monkeypatch.setattr(export_files, "DOWNLOAD_LIMIT", 10)
    with pytest.raises(ExportError, match="copy them from exports/export-0001"):
        read_for_download(site.store, site.people["sam"], 1, ["labels_long.csv"])
    assert open_round(site.workspace).n_pairs > 0
