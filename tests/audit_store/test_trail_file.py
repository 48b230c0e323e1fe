"""The trail as a file: an outsider recomputes the chain, a table tells old and new values, readers are not led."""

import csv
import io
import json
import random
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit_store import trail_check
from audit_store.batches import batch_items, draw_batch
from audit_store.database import utc_now
from audit_store.decisions import adjudicate, new_token, redact, undo
from audit_store.errors import AccessError, DecisionError, StoreError
from audit_store.guidelines import load
from audit_store.ledger import events_of, head
from audit_store.people import disable_person, operator, set_role
from audit_store.protocol import Terms, sign_protocol
from audit_store.trail_check import check_trail
from audit_store.trail_file import csv_text, json_lines, write_trail
from audit_store.trail_view import TrailFilter, trail_page
from audit_store.verify import verify

from .conftest import Site


@pytest.fixture
def lived(site: Site) -> Site:
    """A site with a change of mind, an adjudication, an undo, changed accounts and a comment that was removed."""
    stay, key = site.singles()[0]
    first = site.say("ann", stay, key, "present", comment="=a comment about the patient")
    site.say("ann", stay, key, "absent", supersedes=first.id, reason_code="no_evidence")
    site.say("ben", stay, key, "present")
    for answer in ("present", "absent"):
        adjudicate(site.store, site.people["ada"], 1, stay, key, answer, token=new_token())
    site.say("cat", *site.singles()[1], "present")
    undo(site.store, site.people["cat"], new_token())
    set_role(site.store, site.people["sam"], "cat", "auditor")
    disable_person(site.store, site.people["sam"], "cat")
    other = site.say("ann", *site.singles()[2], "present", comment="Dr Quill said so")
    redact(site.store, site.people["sam"], other.comment_id, "named a colleague")
    return site


def table(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode())))


def test_an_outsider_recomputes_the_chain_with_python_alone(lived: Site, tmp_path: Path) -> None:
    target = tmp_path / "trail.jsonl"
    count = write_trail(lived.store, operator(), target)
    assert count == head(lived.store).count
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    alone = tmp_path / "elsewhere" / "check.py"
    alone.parent.mkdir()
    shutil.copy(trail_check.__file__, alone)
    done = subprocess.run([sys.executable, "-I", "-S", alone, target], capture_output=True, text=True, check=False)
    now = head(lived.store)
    assert done.stdout.strip() == f"All holds: {count} events, 0 withheld, {now.count}:{now.hash}"
    assert done.returncode == 0
    header = json.loads(target.read_text().splitlines()[0])
    assert header["workspace_id"] == lived.workspace.workspace_id
    assert header["head"] == {"count": now.count, "hash": now.hash}


def test_any_changed_line_of_a_trail_file_is_found(lived: Site, tmp_path: Path) -> None:
    target = tmp_path / "trail.jsonl"
    write_trail(lived.store, operator(), target)
    whole = target.read_text(encoding="utf-8").splitlines(keepends=True)
    rng = random.Random(4)
    for _ in range(60):
        lines = list(whole)
        place = rng.randrange(1, len(lines))
        act = rng.choice(["byte", "removed", "doubled", "swapped"])
        if act == "byte":
            name = rng.choice(["payload", "hash", "prev_hash"])
            body = json.loads(lines[place])
            at = rng.randrange(len(body[name]))
            body[name] = body[name][:at] + ("x" if body[name][at] != "x" else "y") + body[name][at + 1 :]
            lines[place] = json.dumps(body) + "\n"
        elif act == "removed":
            del lines[place]
        elif act == "doubled":
            lines.insert(place, lines[place])
        else:
            other = place - 1 if place > 1 else place + 1
            lines[place], lines[other] = lines[other], lines[place]
        target.write_text("".join(lines), encoding="utf-8")
        assert check_trail(target)[1], act
    target.write_text("not a trail\n")
    assert check_trail(target)[1] == ["line 1: is not a trail's header"]


def test_a_table_tells_who_what_when_the_old_value_the_new_one_and_why(lived: Site) -> None:
    rows = table(csv_text(lived.store, lived.people["aud"], TrailFilter()))
    assert [int(row["event"]) for row in rows] == list(range(1, len(rows) + 1))
    changed = [(row["person"], row["old_value"], row["new_value"], row["why"]) for row in rows]
    assert ("ann", "", "present", "") in changed
    assert ("ann", "present", "absent", "no_evidence") in changed
    assert ("cat", "present", "taken back", "") in changed
    assert ("ada", "present", "absent", "") in changed
    assert ("sam", "role reviewer", "role auditor", "") in changed
    assert ("sam", "active yes", "active no", "") in changed
    assert [row["why"] for row in rows if row["new_value"] == "removed"] == ["named a colleague"]
    assert all(row["sentence"].startswith(row["person"]) for row in rows)
    assert {row["round"] for row in rows} == {"", "1"}


def test_comments_stand_in_a_file_only_where_asked_and_never_once_removed(lived: Site) -> None:
    aud = lived.people["aud"]
    for body in (json_lines(lived.store, aud), csv_text(lived.store, aud, TrailFilter())):
        assert b"about the patient" not in body
    assert events_of(lived.store, "access")[-1].data["what"] == "trail_download"
    for body in (json_lines(lived.store, aud, comments=True), csv_text(lived.store, aud, TrailFilter(), comments=True)):
        assert b"about the patient" in body
        assert b"Quill" not in body
    assert events_of(lived.store, "access")[-1].data["what"] == "comment"
    rows = table(csv_text(lived.store, aud, TrailFilter(person="ann"), comments=True))
    assert {row["person"] for row in rows} == {"ann"}
    assert [row["comment"] for row in rows if row["comment"]] == ["'=a comment about the patient"]
    assert verify(lived.store) == []


def test_a_comment_is_removed_for_a_reason_alone(lived: Site) -> None:
    row = lived.say("ben", *lived.singles()[3], "absent", comment="too much said")
    before = head(lived.store)
    for why in ("", "  "):
        with pytest.raises(DecisionError, match="a reason"):
            redact(lived.store, lived.people["sam"], row.comment_id, why)
    assert head(lived.store) == before
    redact(lived.store, lived.people["sam"], row.comment_id, "said too much")
    with pytest.raises(DecisionError, match="still there"):
        redact(lived.store, lived.people["sam"], row.comment_id, "once more")


def test_a_removed_comment_is_gone_from_the_database_file_too(site: Site) -> None:
    rows = [
        site.say("ann", *pair, "present", comment=f"number {i} names Dr Quill-{i} " + 40 * "and more ")
        for i, pair in enumerate(site.singles()[:8])
    ]
    redact(site.store, site.people["sam"], rows[3].comment_id, "named a colleague")
    site.store.close()  # the log beside the file is written into it, and removed
    body = b"".join(path.read_bytes() for path in site.workspace.root.glob("decisions.sqlite*"))
    assert b"Dr Quill-2" in body
    assert b"Dr Quill-3" not in body


def test_filters_are_for_tables_and_a_download_takes_a_role(lived: Site, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="part of a chain"):
        write_trail(lived.store, operator(), tmp_path / "some.jsonl", TrailFilter(kinds=("decision",)))
    with pytest.raises(StoreError, match="ends in"):
        write_trail(lived.store, operator(), tmp_path / "trail.txt")
    write_trail(lived.store, operator(), tmp_path / "some.csv", TrailFilter(kinds=("redact",)))
    assert [row["kind"] for row in table((tmp_path / "some.csv").read_bytes())] == ["comment removed"]
    late = TrailFilter(since=utc_now() + timedelta(hours=1))
    assert write_trail(lived.store, operator(), tmp_path / "none.csv", late) == 0
    before = head(lived.store)
    for person in ("ann", "ada"):
        with pytest.raises(AccessError):
            json_lines(lived.store, lived.people[person])
        with pytest.raises(AccessError):
            write_trail(lived.store, lived.people[person], tmp_path / "more.csv")
    assert head(lived.store) == before
    assert not list(tmp_path.glob("more*")) + list(tmp_path.glob(".*part"))


def test_someone_who_reads_is_not_told_what_open_pairs_were_drawn_for(site: Site, tmp_path: Path) -> None:
    store, sam = site.store, site.people["sam"]
    sign_protocol(store, sam, Terms(batch_size=10), load())
    batch = draw_batch(store, site.people["ann"], site.round)
    assert batch is not None
    items = batch_items(store, site.round, site.people["ann"], batch)
    key = items[0].label_keys[0]
    site.say("ben", items[0].stay_id, key, "present")  # somebody else's answer on a pair that ann still has to read

    def lines(person: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for line in json_lines(store, person).decode().splitlines()[1:]]

    hidden = [line for line in lines(sam) if "withheld" in line]
    assert len(hidden) == 2
    assert not any("random_audit" in json.dumps(line) for line in lines(sam))
    target = tmp_path / "sam.jsonl"
    target.write_bytes(json_lines(store, sam))
    told, wrong = check_trail(target)
    assert (wrong, told["withheld"]) == ([], 2)
    assert "withheld while someone still has to read" in trail_page(store, sam, TrailFilter(person="ben")).lines[0].text
    assert [row["why"] for row in table(csv_text(store, sam, TrailFilter(person="ben")))][-1] == "withheld"

    assert not [line for line in lines(site.people["aud"]) if "withheld" in line]
    assert "answered 'present'" in trail_page(store, site.people["aud"], TrailFilter(person="ben")).lines[0].text
    for item in items:
        for label in item.label_keys:
            site.say("ann", item.stay_id, label, "absent")
    assert not [line for line in lines(sam) if "withheld" in line]
