"""Everything the Quality page says, computed once for a round and a state of the ledger."""

from dataclasses import dataclass

from audit_store.database import Store
from audit_store.quality.bias import Bias, bias_of
from audit_store.quality.calibration import Bin, calibration_of
from audit_store.quality.groups import Group, groups_of
from audit_store.quality.noise import (
    DIRECTIONS,
    Audit,
    Noise,
    audit_of,
    noise_by_label,
    noise_by_persistence,
    noise_overall,
)
from audit_store.quality.pace import Pace, own_pace, pace_by_label, pace_by_purpose, pace_of
from audit_store.quality.pairs_of_readers import Agreement, agreement_of
from audit_store.quality.passed_over import passed_over
from audit_store.quality.readings import Readings, readings
from audit_store.roles import Person, require_live
from audit_store.round_reader import RoundFile
from audit_store.states import snapshot


@dataclass(frozen=True)
class Quality:
    """What may be said of a round's labels and of its readers; readers are R1, R2, … and nobody is named.

    Parameters
    ----------
    round_id
        The round.
    readings, pairs_read, readers, not_blind
        First answers, pairs they were given on, people who gave them, and how many were not blind.
    audited, audit_not_blind, audit_unsure
        Pairs of the random audit that count, that were left out, and that nobody could tell.
    noise, pools, overall
        Noise per label and kind; over the labels of each persistence; over all labels, by kind (missing, wrong).
    agreement, bias
        As their classes say.
    calibration
        Bins of P(label wrong); None where the round is not calibrated.
    groups, no_groups
        Results by group of patients; kinds of group that this cohort can't be divided by.
    pace, pace_by_purpose, pace_by_label
        Time of all readings, by purpose, and by label.
    """

    round_id: int
    readings: int
    pairs_read: int
    readers: int
    not_blind: int
    audited: int
    audit_not_blind: int
    audit_unsure: int
    noise: list[Noise]
    pools: list[Noise]
    overall: dict[str, Noise]
    agreement: Agreement
    bias: Bias
    calibration: list[Bin] | None
    groups: list[Group]
    no_groups: list[str]
    pace: Pace
    pace_by_purpose: list[Pace]
    pace_by_label: list[Pace]


@dataclass(frozen=True)
class Own:
    """What a person alone may know: which reader they are, and their own time."""

    reader: str | None
    pace: Pace


def quality(store: Store, person: Person, round_file: RoundFile) -> Quality:
    """Tell what may be said of a round; computed anew only where the ledger has grown.

    Raises
    ------
    AccessError
        When the person may not look.
    WorkspaceError
        When the cohort can't be read.
    """
    require_live(store, person, "view")
    return _kept(store, round_file)[1]


def own(store: Store, person: Person, round_file: RoundFile) -> Own:
    """Tell a person which reader they are and how long they take; for that person's eyes."""
    require_live(store, person, "view")
    known = _kept(store, round_file)[0]
    return Own(known.names.get(person.name), own_pace(known, person.name))


def _kept(store: Store, round_file: RoundFile) -> tuple[Readings, Quality]:
    key = (str(round_file.path), str(round_file.digest["blake2b"]), snapshot(store).head.hash)
    kept: tuple[object, tuple[Readings, Quality]] | None = store.memory.get("quality")
    if kept is not None and kept[0] == key:
        return kept[1]
    known = readings(store, round_file)
    made = (known, _quality(store, round_file, known, audit_of(round_file, known, passed_over(store, round_file))))
    with store.memory_lock:
        store.memory["quality"] = (key, made)
    return made


def _quality(store: Store, round_file: RoundFile, known: Readings, audit: Audit) -> Quality:
    groups, absent = groups_of(store, known, audit)
    return Quality(
        round_id=round_file.info.round_id,
        readings=len(known.first),
        pairs_read=len(known.first.drop_duplicates(["stay_id", "label_key"])),
        readers=int(known.first["reader"].nunique()),
        not_blind=len(known.first) - len(known.blind),
        audited=len(audit.rows),
        audit_not_blind=audit.not_blind,
        audit_unsure=int(audit.rows["truth"].isna().sum()),
        noise=noise_by_label(audit),
        pools=noise_by_persistence(audit),
        overall={direction: noise_overall(audit, direction) for direction in DIRECTIONS},
        agreement=agreement_of(known),
        bias=bias_of(known),
        calibration=calibration_of(round_file, known) if round_file.info.calibrated else None,
        groups=groups,
        no_groups=absent,
        pace=pace_of(known),
        pace_by_purpose=pace_by_purpose(known),
        pace_by_label=pace_by_label(known, list(round_file.label_ids)),
    )
