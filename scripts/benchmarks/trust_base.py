"""What the properties of bad input and bad disks start from: a small eICU folder and small workspaces, all invented.

Every note and every name holds `MARKER`, so that a message that quotes a patient's text gives itself away.
"""

import csv
import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_store.database import Store, open_store
from audit_store.decisions import Reading, new_token, record
from audit_store.exports import export_labels
from audit_store.people import Person, add_person, operator
from audit_store.rounds import open_round, publish_round
from audit_store.schema import ROUND_SCHEMA_VERSION
from audit_store.workspace import create_workspace
from core.cohort.schema import TABLES
from core.cohort.sources.synthetic import NoiseSpec, build_synthetic
from core.cohort.store import open_cohort, write_cohort
from core.config import TrainConfig, make_config
from core.progress import Silent
from scripts.benchmarks.screen_tables import round_tables
from scripts.bridge import run_round

MARKER = "Quillfeather Zarquon"
"""Part of every invented note and name; no word of ours holds it."""
STAYS, SEED, EPOCHS = 50, 7, 3
READER, PASSWORD = "ada", "a long pass phrase"
TINY: dict[str, Any] = {
    "optim.epochs": EPOCHS,
    "optim.warm_up": 1,
    "model.hidden": 8,
    "model.ffn": 16,
    "model.fusion_layers": 1,
    "tensors.notes.dim": 8,
}
SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
"""The same as words of `miracl train`."""

Rows = list[dict[str, object]]
_EXAM = "notes/Progress Notes/Physical Exam/Physical Exam/"
_HISTORY = "notes/Progress Notes/Past History/Organ Systems/"


@dataclass(frozen=True)
class Base:
    """Folders to copy from; nobody writes in them.

    Parameters
    ----------
    raw
        An eICU folder.
    plain
        A workspace with a cohort and nothing else.
    full
        The same with round 1, a reader, decisions and an export.
    begun
        The same as `plain`, with a run that was stopped after its second epoch.
    """

    raw: Path
    plain: Path
    full: Path
    begun: Path


def tiny_config() -> TrainConfig:
    """Give the smallest run that goes through every part of training."""
    return make_config("miracl", "compact", **TINY)


def eicu_tables() -> dict[str, Rows]:
    """Six unit stays of four invented patients, in every table that the source reader knows by a published name."""
    people = {101: "a", 102: "a", 201: "b", 301: "c", 302: "c", 401: "d"}
    stays = list(people)
    patient: Rows = [
        {
            "patientunitstayid": stay, "patienthealthsystemstayid": stay // 10, "uniquepid": f"{MARKER} {who}",
            "gender": "Female", "age": "70", "ethnicity": "Caucasian", "hospitalid": 7, "apacheadmissiondx": MARKER,
            "admissionheight": 165.0, "admissionweight": 70.0, "hospitaladmitoffset": -60,
            "hospitaldischargeyear": 2014, "unitvisitnumber": 1 + stay % 10, "unitdischargeoffset": 4320,
        }
        for stay, who in people.items()
    ]  # fmt: skip
    return {
        "patient": patient,
        "diagnosis": [_of("diagnosis", stay, diagnosisoffset=60, activeupondischarge="True", diagnosisstring=MARKER,
                          icd9code="584.9, N17.9", diagnosispriority="Major") for stay in stays],
        "vitalAperiodic": [_of("vitalaperiodic", stay, observationoffset=30 * hour, noninvasivesystolic=110 + hour,
                               noninvasivediastolic=60, noninvasivemean=80) for stay in stays for hour in range(4)],
        "lab": [_of("lab", stay, labresultoffset=90, labname="creatinine", labresult=1.1, labresulttext=MARKER,
                    labmeasurenamesystem="mg/dL", labresultrevisedoffset=95) for stay in stays],
        "physicalExam": [_of("physicalexam", stay, 7, physicalexamoffset=30, physicalexamvalue="Eyes Score",
                             physicalexampath=f"{_EXAM}Neurologic/GCS/Eyes Score/4", physicalexamtext="4")
                         for stay in stays],
        "pastHistory": [_of("pasthistory", stay, 5, pasthistoryoffset=20, pasthistoryenteredoffset=20,
                            pasthistorypath=f"{_HISTORY}Pulmonary/COPD/COPD  - moderate",
                            pasthistoryvalue="COPD  - moderate", pasthistoryvaluetext=f"COPD {MARKER}")
                        for stay in stays],
        "treatment": [_of("treatment", stay, treatmentoffset=90, activeupondischarge="True",
                          treatmentstring=f"cardiovascular|shock|vasopressors|{MARKER}") for stay in stays[:3]],
        "medication": [_of("medication", stay, drugstartoffset=30, drugname=MARKER, dosage="1", routeadmin="IV",
                           frequency="q1h", drugordercancelled="No") for stay in stays[:2]],
        "microLab": [_of("microlab", stay, culturetakenoffset=50, culturesite="Blood", organism=MARKER,
                         antibiotic="vancomycin", sensitivitylevel="Sensitive") for stay in stays[:2]],
    }  # fmt: skip


def _of(table: str, stay: int, number: int = 1, **columns: object) -> dict[str, object]:
    return {f"{table}id": stay * 10 + number, "patientunitstayid": stay, **columns}


def write_eicu(folder: Path) -> Path:
    """Write `eicu_tables` as CSV, two of them gzipped, and an hourly table in Parquet; return the folder."""
    folder.mkdir(parents=True)
    for table, rows in eicu_tables().items():
        packed = table in ("patient", "diagnosis")
        path = folder / (f"{table}.csv.gz" if packed else f"{table}.csv")
        with (gzip.open if packed else open)(path, "wt", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    hours = [0, 3600, 7200]
    columns: dict[str, Any] = {
        "stay_id": pa.array([101] * 3 + [201] * 3),
        "time": pa.array(hours * 2, pa.duration("s")),
        "hr": pa.array([80.0, 82.0, None, 90.0, 91.0, 92.0]),
        "sbp": pa.array([120.0] * 6),
    }
    pq.write_table(pa.table(columns), folder / "hourly.parquet")
    return folder


def _cohort(folder: Path, aside: Path) -> None:
    """Invent a cohort whose notes all hold the marker."""
    made = build_synthetic(aside, stays=STAYS, seed=SEED, noise=NoiseSpec("symmetric", 0.2, 0.2), noise_seed=SEED)
    tables = {name: pq.read_table(aside / f"{name}.parquet") for name in TABLES}
    notes = tables["notes"]
    texts = pc.binary_join_element_wise(notes["text"], pa.scalar(MARKER), "\n")
    tables["notes"] = notes.set_column(notes.column_names.index("text"), notes.schema.field("text"), texts)
    given = {key: value for key, value in made.items() if key not in ("counts", "tables", "fingerprint")}
    write_cohort(folder, tables, given)
    shutil.rmtree(aside)


def add_reader(store: Store) -> Person:
    """Add the account that reads."""
    return add_person(store, operator(), READER, PASSWORD, display_name=f"Ada {MARKER}", role="reviewer")


def round_info(round_id: int, fingerprint: str, budget: int) -> dict[str, Any]:
    """Give what ``round.json`` holds."""
    return {
        "round_id": round_id, "parent": None, "created_at": "2026-11-01T08:00:00+00:00", "preset": "invented",
        "config": {}, "code_version": "0.1.0", "cohort_fingerprint": fingerprint, "cohort_name": "invented",
        "decisions_count": 0, "decisions_last_id": 0, "decisions_head": "", "seed": SEED, "device": "cpu",
        "seconds": 1.0, "peak_memory_mb": 1.0, "budget": budget, "schema_version": ROUND_SCHEMA_VERSION,
        "calibrated": True,
    }  # fmt: skip


def invented_round(cohort: Path, round_id: int) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Draw a round's record and tables for a cohort; what they say means nothing."""
    read = {name: pq.read_table(cohort / f"{name}.parquet") for name in ("stays", "labels", "notes")}
    tables = round_tables(read["stays"], read["labels"], read["notes"].select(["stay_id", "note_id"]), SEED + round_id)
    flags = tables["pair"]["suspicion_rank"].drop_null().length()
    fingerprint = open_cohort(cohort, verify=False).fingerprint
    return round_info(round_id, fingerprint, int(flags)), tables


def _reviewed(folder: Path) -> None:
    workspace = create_workspace(folder)
    store = open_store(workspace)
    info, tables = invented_round(workspace.cohort, 1)
    publish_round(store, 1, info, tables, operator())
    person, round_file = add_reader(store), open_round(workspace)
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    flags = round_file.rows("SELECT stay_id, label_key FROM flag JOIN label USING (label_id) ORDER BY suspicion_rank")
    for stay, key in [(int(s), str(k)) for s, k in flags if k not in grouped][:4]:
        record(store, person, Reading(1, stay, key, "absent", comment=f"seen by {MARKER}"), new_token())
    export_labels(store, round_file, operator())
    round_file.close()
    store.close()


class _Twice(Silent):
    """Ask to stop once two epochs are done."""

    def __init__(self) -> None:
        self.done = 0

    def describe(self, epoch: int, loss: float, clean: int, uncertain: int, noisy: int, seconds_left: float) -> None:
        self.done = epoch

    def enough(self) -> bool:
        return self.done >= 2


def _begun(folder: Path) -> None:
    store, watch = open_store(create_workspace(folder)), _Twice()
    run_round(store, tiny_config(), seed=30, device="cpu", budget=None, progress=watch, should_stop=watch.enough)
    store.close()


def make_base(folder: Path) -> Base:
    """Make everything to copy from in `folder`; what an earlier call made there is taken as it is."""
    base = Base(folder / "raw", folder / "plain", folder / "full", folder / "begun")
    if (folder / "complete").is_file():
        return base
    shutil.rmtree(folder, ignore_errors=True)
    write_eicu(base.raw)
    space = create_workspace(base.plain)
    _cohort(space.cohort, folder / "aside")
    for copy in (base.full, base.begun):
        shutil.copytree(base.plain, copy)
    _reviewed(base.full)
    _begun(base.begun)
    (folder / "complete").touch()
    return base
