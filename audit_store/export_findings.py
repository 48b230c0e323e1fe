"""What a data card tells of labels: who read, noise that is left, how far readers agree; and counts by label."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from audit_store.database import Store
from audit_store.export_matrix import label_codes
from audit_store.export_reads import roles_of
from audit_store.quality.agreement import Coefficient
from audit_store.quality.noise import DIRECTIONS, Noise, audit_of, noise_by_label, noise_overall
from audit_store.quality.pairs_of_readers import Two, agreement_of, alpha_of
from audit_store.quality.passed_over import passed_over
from audit_store.quality.readings import readings
from audit_store.round_reader import RoundFile
from audit_store.states import Snapshot

MOST_READERS = 5
_READ = ("kept", "relabelled", "adjudicated")


@dataclass(frozen=True)
class Findings:
    """What is known of who read what, and how good the labels are.

    Parameters
    ----------
    roles
        Number of people by role among those who read or adjudicated; programs' answers left out.
    readings, pairs, audited
        First answers of people on this round's pairs; those pairs; pairs of the random audit that count.
    overall, by_label
        Noise left by kind (missing, wrong) over all labels, and by label; empty where nobody read.
    committed
        Alpha of blind first answers, "can't tell" as missing; None where no two people answered a pair.
    twos
        Each two readers' kappa; none where there are more than `MOST_READERS`, for a table would be too long.
    """

    roles: dict[str, int]
    readings: int
    pairs: int
    audited: int
    overall: dict[str, Noise]
    by_label: list[Noise]
    committed: Coefficient | None
    twos: list[Two]


def findings_of(store: Store, round_file: RoundFile, now: Snapshot) -> Findings:
    """Measure noise and agreement as the Quality page does."""
    known = readings(store, round_file)
    judges = now.adjudications["adjudicator"].unique().to_pylist()
    roles = roles_of(store, dict.fromkeys([*known.names, *judges]))
    if known.first.empty:
        return Findings(roles, 0, 0, 0, {}, [], None, [])
    audit = audit_of(round_file, known, passed_over(store, round_file))
    blind = known.blind
    shared = blind[blind["pair"].duplicated(keep=False)]
    return Findings(
        roles=roles,
        readings=len(known.first),
        pairs=len(known.first.drop_duplicates(["stay_id", "label_key"])),
        audited=len(audit.rows),
        overall={direction: noise_overall(audit, direction) for direction in DIRECTIONS},
        by_label=noise_by_label(audit) if len(audit.rows) else [],
        committed=alpha_of(shared) if len(shared) else None,
        twos=agreement_of(known).twos if len(known.names) <= MOST_READERS else [],
    )


def by_label(long: pa.Table, round_file: RoundFile) -> pd.DataFrame:
    """Count per label, in the round's order: label_key, name, stays, present, settled, changed, added, removed, auto.

    `settled` are those that people settled, `auto` those that the model changed by itself.
    """
    keys = tuple(round_file.label_ids)
    code = label_codes(long["label"], keys)

    def count(mask: pa.ChunkedArray | None) -> np.ndarray:
        chosen = code if mask is None else code[mask.to_numpy()]
        return np.bincount(chosen, minlength=len(keys))

    present = pc.equal(long["cleaned"], 1)
    basis = long["basis"]
    return pd.DataFrame(
        {
            "label_key": keys,
            "name": list(round_file.label_names.values()),
            "stays": count(None),
            "present": count(present),
            "settled": count(pc.is_in(basis, value_set=pa.array(_READ))),
            "changed": count(long["changed"]),
            "added": count(pc.and_(long["changed"], present)),
            "removed": count(pc.and_not(long["changed"], present)),
            "auto": count(pc.equal(basis, "auto_corrected")),
        }
    )
