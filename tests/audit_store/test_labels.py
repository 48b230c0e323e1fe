"""Locks and cleaned labels against plain restatements."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_store.decisions import adjudicate, current_answer, new_token, of_pair, pair_state, undo
from audit_store.errors import ExportError
from audit_store.labels import Policy, cleaned_long, cleaned_wide, differences, listfile, locks, summary
from audit_store.ledger import head
from audit_store.schema import LOCKS, LONG

from .conftest import Site

MakeSite = Callable[..., Site]


def locked_of(site: Site, before: int = 2) -> dict[tuple[int, str], tuple[float, bool]]:
    table = locks(site.store, before).table
    assert table.schema.equals(LOCKS)
    return {(row["stay_id"], row["label_key"]): (row["value"], row["locked"]) for row in table.to_pylist()}


def test_the_rules_of_locking(site: Site) -> None:
    p = site.singles()
    observed = {pair: site.round.stated(*pair)[0] for pair in p[:9]}
    against = {pair: ("absent", "present")[1 - observed[pair]] for pair in observed}
    same = {pair: ("absent", "present")[observed[pair]] for pair in observed}
    site.say("ann", *p[0], against[p[0]])
    site.say("ann", *p[1], against[p[1]], certainty="low")
    site.say("ann", *p[2], same[p[2]], certainty="low")
    site.say("ann", *p[3], "cannot_tell")
    for who in ("ann", "ben"):
        site.say(who, *p[4], against[p[4]], certainty="low")
    site.say("ann", *p[5], "present")
    site.say("ben", *p[5], "absent")
    site.say("ann", *p[6], "present")
    site.say("ben", *p[6], "absent")
    adjudicate(site.store, site.people["ada"], 1, *p[6], "absent", token=new_token())
    site.say("ann", *p[7], "present")
    undo(site.store, site.people["ann"], new_token())
    site.say("ann", *p[8], against[p[8]])
    site.say("ben", *p[8], "cannot_tell")
    assert locked_of(site) == {
        p[0]: (1 - observed[p[0]], True),
        p[1]: (0.5, False),
        p[2]: (observed[p[2]], False),
        p[4]: (1 - observed[p[4]], True),
        p[6]: (0, True),
        p[8]: (1 - observed[p[8]], True),
    }


def test_locks_say_what_was_read(site: Site) -> None:
    empty = locks(site.store, 2)
    assert (empty.table.num_rows, empty.decisions_count, empty.decisions_last_id) == (0, 0, 0)
    made = site.say("ann", *site.singles()[0], "present")
    read = locks(site.store, 2)
    assert (read.decisions_count, read.decisions_last_id) == (1, made.id)
    assert read.decisions_head == head(site.store).hash


def test_a_round_reads_only_decisions_of_earlier_rounds(site: Site) -> None:
    site.publish(2)
    one, two = site.singles()[:2]
    first = site.say("ann", *one, "present", round_id=1)
    site.say("ann", *two, "present", round_id=2)
    assert set(locked_of(site, 2)) == {one}
    assert set(locked_of(site, 3)) == {one, two}
    undo(site.store, site.people["ann"], new_token(), first.id)
    assert locked_of(site, 2) == {}


def test_locked_pairs_are_not_offered_nor_flagged_in_the_next_round(site: Site) -> None:
    pair = site.singles()[0]
    site.say("ann", *pair, "present")
    site.publish(2, locks=locks(site.store, 2).table)
    assert site.round.pair(*pair).partition == "locked"
    assert pair not in site.flags()
    assert cleaned_long(site.store, site.round).num_rows == 1000


def plain_long(site: Site, policy: Policy) -> list[dict[str, Any]]:
    """The long form, one pair at a time."""
    rows = []
    for stay, key, patient, split, observed, suggested, error in site.round.rows(
        "SELECT stay_id, label_key, patient_id, split, observed, suggested, error_probability "
        "FROM pair JOIN label USING (label_id) ORDER BY stay_id, label_id"
    ):
        state = pair_state(site.store, stay, key)
        settled = state.locked or (policy.low_certainty and state.state == "answered" and state.value is not None)
        basis, cleaned = "observed", observed
        if settled:
            cleaned = state.value
            basis = "kept" if cleaned == observed else "relabelled"
            if state.state == "adjudicated":
                basis = "adjudicated"
        elif (
            policy.auto_threshold is not None
            and not len(of_pair(site.store, stay, key).query("current"))
            and state.state == "open"
            and split == "train"
            and suggested != observed
            and error >= policy.auto_threshold
        ):
            basis, cleaned = "auto_corrected", suggested
        rows.append(
            {
                "stay_id": stay,
                "patient_id": patient,
                "label": key,
                "observed": observed,
                "cleaned": cleaned,
                "changed": cleaned != observed,
                "basis": basis,
            }
        )
    return rows


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben", "ada"]),
        st.integers(0, 8),
        st.sampled_from(["present", "absent", "cannot_tell", "adjudicate"]),
        st.sampled_from(["high", "low"]),
    ),
    max_size=14,
)
POLICIES = st.builds(Policy, st.sampled_from([None, 0.5, 0.9]), st.booleans())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS, POLICIES)
def test_the_long_form_is_that_of_a_plain_loop(
    small: Site, acts: list[tuple[str, int, str, str]], policy: Policy
) -> None:
    pairs = small.flags()
    for who, place, answer, certainty in acts:
        stay, key = pairs[place]
        standing = current_answer(small.store, small.people[who], stay, key)
        if answer == "adjudicate":
            readers = set(of_pair(small.store, stay, key)["reviewer"])
            if readers and "ada" not in readers:
                adjudicate(small.store, small.people["ada"], 1, stay, key, "absent", token=new_token())
        else:
            small.say(who, stay, key, answer, certainty=certainty, supersedes=standing.id if standing else None)
    got = cleaned_long(small.store, small.round, policy)
    assert got.schema.equals(LONG)
    wanted = plain_long(small, policy)
    assert [{name: row[name] for name in wanted[0]} for row in got.to_pylist()] == wanted


@pytest.fixture
def small(make_site: MakeSite) -> Site:
    return make_site(24, 4)


def test_by_default_a_label_changes_only_where_people_decided(site: Site) -> None:
    table = cleaned_long(site.store, site.round)
    assert table.num_rows == 1000
    assert set(table["basis"].to_pylist()) == {"observed"}
    assert table["cleaned"].equals(table["observed"])
    assert differences(site.store, site.round).empty
    stay, key = site.singles()[0]
    observed, _ = site.round.stated(stay, key)
    site.say("ben", stay, key, "present" if observed == 0 else "absent")
    site.say("ann", stay, key, "present" if observed == 0 else "absent")
    row = differences(site.store, site.round).to_dict("records")
    assert len(row) == 1
    assert (row[0]["stay_id"], row[0]["label"], row[0]["cleaned"]) == (stay, key, 1 - observed)
    assert (row[0]["basis"], row[0]["reviewers"], row[0]["round"]) == ("relabelled", "ann;ben", 1)
    assert row[0]["agreement"] == 1.0


def test_automatic_correction_is_opt_in_and_leaves_test_stays_alone(site: Site) -> None:
    table = cleaned_long(site.store, site.round, Policy(auto_threshold=0.9)).to_pandas()
    automatic = table[table["basis"] == "auto_corrected"]
    assert len(automatic) > 0
    assert (automatic["error_probability"] >= 0.9).all()
    splits = dict(site.round.rows("SELECT DISTINCT stay_id, split FROM pair"))
    assert {splits[stay] for stay in automatic["stay_id"]} == {"train"}
    for threshold in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(ExportError):
            Policy(auto_threshold=threshold)


def test_long_wide_and_listfile_agree(make_site: MakeSite) -> None:
    site = make_site(20, 6, uncoded=3)
    for pair in site.flags()[:5]:
        site.say("ann", *pair, "present" if site.round.stated(*pair)[0] == 0 else "absent")
    long = cleaned_long(site.store, site.round).to_pandas()
    wide = cleaned_wide(site.store, site.round).to_pandas().set_index("stay_id")
    listed = listfile(site.store, site.round)
    assert listed.column_names == ["stay", "period_length", *site.round.label_names.values()]
    listed = listed.to_pandas().set_index("stay")
    assert len(wide) == 20
    assert len(listed) == 17
    for row in long.to_dict("records"):
        assert wide.loc[row["stay_id"], row["label"]] == row["cleaned"]
        assert listed.loc[row["stay_id"], site.round.label_names[row["label"]]] == row["cleaned"]
    lengths = pq.read_table(site.workspace.cohort / "stays.parquet").to_pandas().set_index("stay_id")["los_hours"]
    assert (listed["period_length"] == lengths.loc[listed.index]).all()
    assert wide[list(site.round.label_ids)].notna().sum().sum() == len(long) == 17 * 6


def test_a_stay_without_coded_diagnoses_is_never_a_zero(make_site: MakeSite) -> None:
    site = make_site(20, 6, uncoded=3)
    uncoded = {1017, 1018, 1019}
    assert not uncoded & set(cleaned_long(site.store, site.round)["stay_id"].to_pylist())
    assert not uncoded & set(listfile(site.store, site.round)["stay"].to_pylist())
    wide = cleaned_wide(site.store, site.round)
    text = io.BytesIO()
    pacsv.write_csv(wide, text)
    for row in csv.DictReader(io.StringIO(text.getvalue().decode())):
        blank = [row[key] == "" for key in site.round.label_ids]
        assert all(blank) if int(row["stay_id"]) in uncoded else not any(blank)


def test_the_summary_counts_what_the_long_form_holds(site: Site) -> None:
    for pair in site.singles()[:6]:
        site.say("ann", *pair, "present")
    frame = summary(site.store, site.round)
    long = cleaned_long(site.store, site.round).to_pandas()
    assert frame["label_key"].tolist() == list(site.round.label_ids)
    assert frame["pairs"].sum() == len(long)
    for basis in ("kept", "relabelled", "adjudicated", "auto_corrected"):
        assert frame[basis].sum() == (long["basis"] == basis).sum()
    assert (frame["added"] + frame["removed"]).sum() == long["changed"].sum()


def test_without_its_cohort_a_round_still_gives_long_and_wide(site: Site) -> None:
    (site.workspace.cohort / "stays.parquet").unlink()
    assert cleaned_wide(site.store, site.round).num_rows == 40
    with pytest.raises(ExportError, match=r"stays\.parquet"):
        listfile(site.store, site.round)


def test_label_keys_with_quotes_stay_data(make_site: MakeSite) -> None:
    site = make_site(6, 3, train=False)
    tables = site.tables()
    keys = ["o'brien", 'a"b', "c,d"]
    label = tables["label"]
    tables["label"] = label.set_column(label.column_names.index("label_key"), "label_key", pa.array(keys))
    from audit_store.people import operator
    from audit_store.rounds import publish_round

    from .conftest import round_info

    publish_round(site.store, 1, round_info(1, site.manifest["fingerprint"]), tables, operator())
    wide = cleaned_wide(site.store, site.round)
    assert wide.column_names[3:] == keys
    assert sum(wide[key].null_count for key in keys) == 0
