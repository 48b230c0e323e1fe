"""An export for publication: every read and nobody's name, how to cite, and the data card's words."""

import csv
import hashlib
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from audit_store.answers import SIMULATED
from audit_store.batches import batch_items, draw_batch
from audit_store.decisions import adjudicate, new_token, undo
from audit_store.errors import ExportError
from audit_store.export_citation import FILL_IN, Citation, citation_text, placeholders
from audit_store.export_reads import ADJUDICATIONS, READS
from audit_store.exports import export_labels, read_manifest
from audit_store.guidelines import load
from audit_store.labels import Policy
from audit_store.people import operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.quality.readings import readings
from audit_store.quality.report import quality
from audit_store.verify import verify

from .conftest import PEOPLE, Site

MakeSite = Callable[..., Site]
SECRET = "a comment of the ward"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_read_is_there_with_its_state_and_nobody_is_named(site: Site) -> None:
    p = site.singles()
    first = site.say("ben", *p[0], "present", comment=SECRET)
    site.say("ben", *p[0], "absent", certainty="low", supersedes=first.id)
    site.say("ann", *p[0], "present", reason_code="coded_elsewhere", saw_suggestion=True)
    site.say("ann", *p[1], "absent")
    undo(site.store, site.people["ann"], new_token())
    site.say("cat", *p[2], "present", reason_code=SIMULATED)
    site.say("cat", *p[3], "present", reason_code=SIMULATED)
    undo(site.store, site.people["cat"], new_token())
    site.say("ann", *p[2], "absent")
    adjudicate(site.store, site.people["ada"], 1, *p[0], "absent", comment=SECRET, token=new_token())
    folder = export_labels(site.store, 1, site.people["sam"], reads=Citation())
    reads = rows_of(folder / "reads" / "reads.csv")
    told = [(r["read"], r["reader"], r["answer"], r["state"], r["supersedes"]) for r in reads]
    assert told == [
        ("1", "R1", "present", "changed", ""),
        ("2", "R1", "absent", "stands", "1"),
        ("3", "R2", "present", "stands", ""),
        ("4", "R2", "absent", "taken_back", ""),
        ("5", "R2", "retract", "retraction", "4"),
        ("6", "R2", "absent", "stands", ""),
    ]
    assert [r["blinded"] for r in reads[:2]] == ["true", "false"]
    assert (int(reads[0]["stay_id"]), reads[0]["label"]) == p[0]
    assert reads[2]["reason_code"] == "coded_elsewhere"
    assert reads[0]["read_at"][:19] == str(first.created_at)[:19]
    assert reads[0]["read_at"][19:].strip(".0") == ""
    judged = rows_of(folder / "reads" / "adjudications.csv")
    assert [(r["adjudicator"], r["answer"], r["stands"]) for r in judged] == [("R3", "absent", "true")]
    assert pq.read_table(folder / "reads" / "reads.parquet").schema.equals(READS)
    assert pq.read_table(folder / "reads" / "adjudications.parquet").schema.equals(ADJUDICATIONS)
    long = {(int(r["stay_id"]), r["label"]): r["reviewers"] for r in rows_of(folder / "labels_long.csv")}
    assert (long[p[0]], long[p[2]]) == ("R2;R1;R3", "R2;simulated")
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest["actor"] == "steward"
    assert {k: manifest["reads"][k] for k in ("reads", "readers", "adjudications", "simulated_left_out")} == {
        "reads": 6,
        "readers": 3,
        "adjudications": 1,
        "simulated_left_out": 3,
    }
    for path in (path for path in folder.rglob("*") if path.is_file()):
        body = path.read_bytes() if path.suffix != ".parquet" else str(pq.read_table(path).to_pydict()).encode()
        assert SECRET.encode() not in body
        for name in PEOPLE:
            assert not re.search(rf"\b{name}\b".encode(), body), (path.name, name)
    listed = {item["name"]: item["sha256"] for item in manifest["files"]}
    for name in ("reads/reads.csv", "reads/adjudications.parquet", "CITATION.cff", "DATA_CARD.md"):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == listed[name]
    assert verify(site.store) == []


def test_an_audit_s_reads_carry_their_chance_and_weight_and_the_card_its_interval(make_site: MakeSite) -> None:
    site = make_site(n_stays=60, n_labels=4)
    sign_protocol(site.store, operator(), Terms(batch_size=60, budget=300, audit_share=0.4), load())
    ann, sam = site.people["ann"], site.people["sam"]
    batch = draw_batch(site.store, sam, site.round, reader="ann", kind="random_audit", size=80)
    assert batch is not None
    rng = np.random.default_rng(4)
    for item in batch_items(site.store, site.round, ann, batch):
        for key in item.label_keys:
            site.say("ann", item.stay_id, key, ("absent", "present")[int(rng.random() < 0.4)])
    folder = export_labels(site.store, 1, sam, formats=("parquet",), forms=("long",), reads=Citation())
    table = pq.read_table(folder / "reads" / "reads.parquet").to_pandas()
    assert set(table["purpose"]) == {"random_audit"}
    assert (table["weight"] * table["inclusion_probability"]).to_numpy() == pytest.approx(1.0)
    assert table["stratum"].notna().all()
    assert table["protocol_hash"].nunique() == 1
    card = (folder / "DATA_CARD.md").read_text()
    report = quality(site.store, site.people["aud"], site.round)
    for noise in report.overall.values():
        for share in (noise.recorded, noise.handed_out):
            assert f"{share.estimate:.1%} ({share.low:.1%} to {share.high:.1%})" in card
    assert f"random audit of {report.audited:,} labels" in card
    assert f"{report.readings:,} first answers" in card
    assert not (folder / "reads" / "reads.csv").exists()


def test_readers_have_the_numbers_of_the_quality_page(site: Site) -> None:
    for who, pair in zip(("cat", "ann", "ben", "ann"), site.singles(), strict=False):
        site.say(who, *pair, "present")
    folder = export_labels(site.store, 1, operator(), formats=("csv",), forms=("long",), reads=Citation())
    reads = rows_of(folder / "reads" / "reads.csv")
    names = readings(site.store, site.round).names
    assert (
        [r["reader"] for r in reads] == [names[who] for who in ("cat", "ann", "ben", "ann")] == ["R1", "R2", "R3", "R2"]
    )


def test_where_nobody_has_read_the_tables_are_empty_and_the_card_says_so(site: Site) -> None:
    folder = export_labels(site.store, 1, operator(), formats=("parquet",), forms=("long",), reads=Citation())
    assert pq.read_table(folder / "reads" / "reads.parquet").num_rows == 0
    card = (folder / "DATA_CARD.md").read_text()
    assert "Nobody has read any of these labels yet" in card
    assert "Not known: no label was read in a random audit" in card


def test_the_card_says_counts_policy_and_origin_as_the_manifest_does(site: Site) -> None:
    for pair in site.singles()[:3]:
        site.say("ann", *pair, "present" if site.round.stated(*pair)[0] == 0 else "absent")
    folder = export_labels(site.store, 1, site.people["sam"], Policy(0.9, low_certainty=True), ("csv",))
    manifest = read_manifest(folder)
    assert manifest is not None
    card, counts = (folder / "DATA_CARD.md").read_text(), manifest["counts"]
    assert "1 person (1 reviewer, by the role they have today), who gave 3 first answers" in card
    assert f"{counts['changed']:,} differ from what was recorded: {counts['added']:,} recorded absent" in card
    assert f"The model changed {counts['basis']['auto_corrected']:,} by itself." in card
    assert "score of suspicion, which is no probability, is 0.9 or more" in card
    assert "a single answer given as not sure counts as settled" in card
    for word in (
        manifest["cohort"]["fingerprint"],
        manifest["decisions"]["head"]["hash"],
        "invented",
        "not for billing",
    ):
        assert word in card
    rows = [line.split(" | ") for line in card.splitlines() if line.startswith("| ") and line.count("|") == 8][1:]
    assert sum(int(row[4].replace(",", "")) for row in rows) == counts["added"]
    assert sum(int(row[5].replace(",", "")) for row in rows) == counts["removed"]
    assert sum(int(row[6].strip(" |")) for row in rows) == counts["basis"]["auto_corrected"]
    assert not re.search(r"\b(ann|sam)\b", card)


# -- how to cite -------------------------------------------------------------------------------------------------

REQUIRED = {"authors", "cff-version", "message", "title"}
ALLOWED = REQUIRED | {"abstract", "date-released", "doi", "keywords", "type", "version"}


def checked(text: str) -> dict[str, object]:
    """Hold a file against the parts of schema 1.2.0 that it uses."""
    body: dict[str, object] = yaml.safe_load(text)
    assert set(body) >= REQUIRED
    assert set(body) <= ALLOWED
    assert (body["cff-version"], body["type"]) == ("1.2.0", "dataset")
    assert all(isinstance(body[name], str) and body[name] for name in set(body) - {"authors", "keywords"})
    assert date.fromisoformat(str(body["date-released"]))
    authors = body["authors"]
    assert isinstance(authors, list)
    assert len(authors) >= 1
    assert all(set(a) in ({"family-names", "given-names"}, {"name"}) for a in authors)
    assert all(isinstance(value, str) and value for a in authors for value in a.values())
    return body


def test_a_citation_is_valid_whatever_stands_in_it() -> None:
    asked = Citation('Labels: "audited" # 1', ("Doe, Jané", "The Ward's Team", "null"), "10.5281/zenodo.1003150")
    text = citation_text(asked, "a cohort", 3, "abstract: a - b # c", "round 3", date(2026, 11, 21))
    body = checked(text)
    assert body["title"] == 'Labels: "audited" # 1'
    assert body["doi"] == "10.5281/zenodo.1003150"
    assert body["authors"] == [
        {"family-names": "Doe", "given-names": "Jané"},
        {"name": "The Ward's Team"},
        {"name": "null"},
    ]
    assert body["abstract"] == "abstract: a - b # c"
    assert f"{FILL_IN}: authors" not in text


def test_what_only_authors_know_is_marked_and_named(site: Site) -> None:
    folder = export_labels(site.store, 1, operator(), formats=("csv",), forms=("wide",), reads=Citation())
    text = (folder / "CITATION.cff").read_text()
    body = checked(text)
    assert body["authors"] == [{"name": f"{FILL_IN}: authors"}]
    assert placeholders(Citation())[:2] == ["authors", "doi, once there is one"]
    assert all(f"# {FILL_IN}: {words}\n" in text for words in placeholders(Citation()))
    assert str(site.manifest["fingerprint"]) in str(body["abstract"])


@pytest.mark.parametrize(
    "given",
    [{"title": " "}, {"title": "a\nb"}, {"authors": ("A", "A")}, {"authors": ("",)}, {"doi": "https://doi.org/10.5/x"}],
)
def test_a_citation_that_can_t_be_written_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ExportError):
        Citation(**given)  # type: ignore[arg-type]


def test_a_manifest_of_an_earlier_version_still_reads(site: Site) -> None:
    folder = export_labels(site.store, 1, operator(), formats=("csv",))
    body = json.loads((folder / "manifest.json").read_text())
    old = {k: v for k, v in body.items() if k not in ("forms", "left_out", "reads")} | {"schema_version": 1}
    (folder / "manifest.json").write_text(json.dumps(old))
    assert read_manifest(folder) == old
