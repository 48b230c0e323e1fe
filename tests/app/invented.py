"""A small invented workspace: eight patients with one to three visits, notes, charts, and a hand-made round."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from app.run import DEMO_NAME, DEMO_PASSWORD
from audit_store.database import Store, open_store
from audit_store.detector_words import TITLES
from audit_store.people import add_person, operator
from audit_store.rounds import publish_round
from audit_store.schema import OPTIONAL_TABLES, ROUND_TABLES
from audit_store.workspace import create_workspace
from core.cohort.channels import BY_NAME, manifest_channels
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import TABLES
from core.cohort.store import is_test_patient, stable_id, write_cohort

NAME, PASSWORD = "mara", "a long enough password"
EPOCHS = 12
KEYS = [label.key for label in PHENOTYPES]
MARKUP = "<script>document.title='ran'</script> **bold** $x^2$ <b>b</b> :red[no]"

NO_SERIES = {"p-bare"}

# patient, visits (days), sex, age, the labels recorded at each visit, the labels that are true at each visit
PATIENTS: list[dict[str, Any]] = [
    {
        "key": "p-three-visits",
        "days": [2.1, 3.4, 1.6],
        "sex": "F",
        "age": 71,
        "recorded": [{"copd", "pneumonia"}, {"pneumonia"}, {"copd"}],
        "true": [{"copd", "pneumonia"}, {"copd", "pneumonia", "septicemia"}, {"copd"}],
    },
    {
        "key": "p-kidney",
        "days": [4.0],
        "sex": "M",
        "age": 64,
        "recorded": [{"shock"}],
        "true": [{"shock", "acute_renal_failure", "septicemia"}],
    },
    {
        "key": "p-sugar",
        "days": [2.0, 2.5],
        "sex": "F",
        "age": 58,
        "recorded": [{"diabetes_without_complication"}, {"lipid_disorders"}],
        "true": [{"diabetes_with_complications"}, {"diabetes_with_complications", "lipid_disorders"}],
    },
    {
        "key": "p-heart",
        "days": [1.8],
        "sex": "M",
        "age": 90,
        "recorded": [{"acute_myocardial_infarction", "coronary_disease"}],
        "true": [{"coronary_disease"}],
    },
    {"key": "p-bare", "days": [1.1], "sex": "F", "age": 44, "recorded": [{"septicemia"}], "true": [set()]},
    {"key": "p-quiet-1", "days": [2.2], "sex": "M", "age": 51, "recorded": [set()], "true": [set()]},
    {"key": "p-quiet-2", "days": [1.4], "sex": "F", "age": 37, "recorded": [{"shock"}], "true": [{"shock"}]},
    {"key": "p-quiet-3", "days": [1.9], "sex": "M", "age": 66, "recorded": [set()], "true": [set()]},
]

TEXTS: dict[tuple[str, int], list[tuple[str, float, str]]] = {
    ("p-three-visits", 0): [
        (
            "History and physical",
            3.0,
            "71F with known COPD on home oxygen and tiotropium, presents with productive cough and fever.\n"
            "CXR: right lower lobe infiltrate, consistent with pneumonia. Denies chest pain. No history of diabetes.\n"
            "Plan: ceftriaxone and azithromycin, nebulisers.",
        )
    ],
    ("p-three-visits", 1): [
        (
            "Admission note",
            2.5,
            "Readmitted from a nursing home with fever 39.4, hypotension and confusion.\n"
            "Assessment: sepsis from a pulmonary source, right lower lobe pneumonia. Lactate 4.1.\n"
            "Started on norepinephrine after 30 mL/kg crystalloid. Blood cultures drawn, vancomycin and\n"
            "piperacillin-tazobactam given. Father had septic shock in his eighties.",
        ),
        (
            "Nursing",
            20.0,
            "Norepinephrine 0.12 mcg/kg/min to keep MAP above 65. Urine 20-25 mL/h. Lungs coarse on the right.\n"
            "Family at the bedside. Skin warm, no rash.",
        ),
        (
            "Progress note",
            54.0,
            "Blood cultures grew Streptococcus pneumoniae in two of two bottles. Septic shock, resolving; pressors off "
            f"since morning. No evidence of endocarditis. {MARKUP}",
        ),
    ],
    ("p-three-visits", 2): [
        ("Discharge summary", 30.0, "Elective admission for bronchoscopy. COPD at baseline. No sepsis. No fever.")
    ],
    ("p-kidney", 0): [
        (
            "Admission note",
            1.5,
            "64M found down. BP 70/40. Septic shock likely urinary; creatinine 1.0 in clinic last month, now 2.9.\n"
            "Acute kidney injury, oliguric. CRRT discussed with nephrology. Denies history of dialysis.",
        ),
        ("Nursing", 16.0, "Urine output 8 mL over 2 h. Norepinephrine running. Pupils equal."),
    ],
    ("p-sugar", 0): [
        (
            "History and physical",
            2.0,
            "58F with type 2 diabetes mellitus, diabetic nephropathy, on insulin glargine. Admitted in diabetic "
            "ketoacidosis: glucose 612, ketones large, pH 7.08. Mother had diabetes.",
        )
    ],
    ("p-sugar", 1): [
        ("Admission note", 2.0, "Known diabetic nephropathy and hyperlipidaemia on atorvastatin. Glucose 288.")
    ],
    ("p-heart", 0): [
        (
            "Cardiology",
            4.0,
            "Chest pain at rest. Troponin 0.02, 0.02 and 0.03, flat. ECG without ST elevation. Ruled out for "
            "myocardial infarction. Old infarction in 2009 with stents; coronary artery disease on aspirin.",
        )
    ],
    ("p-quiet-2", 0): [("Nursing", 2.0, "Comfortable. No complaints.")],
}

EVIDENCE: list[tuple[str, int, float | None, str, str, float | None, str | None, str | None]] = [
    ("p-three-visits", 1, 1.0, "drug", "norepinephrine", None, None, "0.05-0.2 mcg/kg/min"),
    ("p-three-visits", 1, 1.5, "drug", "vancomycin", 1000.0, "mg", None),
    ("p-three-visits", 1, 1.5, "drug", "piperacillin-tazobactam", 4.5, "g", None),
    ("p-three-visits", 1, 1.0, "micro", "blood culture", None, None, "Streptococcus pneumoniae"),
    ("p-three-visits", 1, 0.0, "admission_diagnosis", "pneumonia, bacterial", None, None, None),
    ("p-three-visits", 0, 4.0, "drug", "ceftriaxone", 1.0, "g", None),
    ("p-kidney", 0, 2.0, "drug", "norepinephrine", None, None, None),
    ("p-kidney", 0, 0.0, "admission_diagnosis", "sepsis, renal/UTI", None, None, None),
    ("p-sugar", 0, 1.0, "drug", "insulin regular infusion", None, None, None),
    ("p-heart", 0, 1.0, "ecg", "12-lead ECG", None, None, "sinus rhythm, no ST elevation"),
]

# what the model proposes: patient, visit, label, error probability
FLAGS: list[tuple[str, int, str, float]] = [
    ("p-three-visits", 1, "septicemia", 0.93),
    ("p-kidney", 0, "acute_renal_failure", 0.91),
    ("p-sugar", 0, "diabetes_with_complications", 0.88),
    ("p-heart", 0, "acute_myocardial_infarction", 0.84),
    ("p-three-visits", 1, "copd", 0.81),
    ("p-bare", 0, "septicemia", 0.77),
    ("p-kidney", 0, "septicemia", 0.74),
    ("p-sugar", 1, "diabetes_with_complications", 0.7),
]


@dataclass(frozen=True)
class Invented:
    """The workspace's folder, its store, and where each stay is."""

    folder: Path
    store: Store
    stays: dict[tuple[str, int], int]


def _stay_rows() -> list[dict[str, Any]]:
    rows = []
    for p, patient in enumerate(PATIENTS):
        for v, days in enumerate(patient["days"]):
            rows.append(
                {
                    "patient": patient,
                    "visit": v,
                    "stay_id": 200_000 + 1_000 * p + 37 * v + 471,
                    "patient_id": stable_id(patient["key"]),
                    "los": days * 24.0,
                }
            )
    return rows


def _walk(rng: np.random.Generator, n: int, start: float, end: float, spread: float) -> np.ndarray:
    return np.linspace(start, end, n) + np.cumsum(rng.normal(0, spread / 3, n)) * 0.4 + rng.normal(0, spread, n)


def _series(rows: list[dict[str, Any]]) -> pa.Table:
    rng = np.random.default_rng(7)
    columns: dict[str, list[Any]] = {"stay_id": [], "hour": [], "channel": [], "value": []}

    def add(stay: int, channel: str, hours: np.ndarray, values: np.ndarray) -> None:
        low, high = BY_NAME[channel].plausible
        columns["stay_id"] += [stay] * len(hours)
        columns["hour"] += hours.tolist()
        columns["channel"] += [channel] * len(hours)
        columns["value"] += np.clip(values, low, high).tolist()

    for row in rows:
        patient, v, stay, los = row["patient"], row["visit"], row["stay_id"], row["los"]
        if patient["key"] in NO_SERIES:
            continue
        true = patient["true"][v]
        sick, kidney, sugar = "septicemia" in true, "acute_renal_failure" in true, "diabetes" in str(true)
        hours = np.arange(0.3, los, 1.0)
        hours = hours[(hours < los * 0.4) | (hours > los * 0.4 + 9)]
        n = len(hours)
        add(stay, "heart_rate", hours, _walk(rng, n, 124 if sick else 84, 88 if sick else 78, 4))
        add(stay, "map", hours, _walk(rng, n, 58 if sick else 82, 74 if sick else 84, 3))
        add(stay, "resp_rate", hours, _walk(rng, n, 29 if sick else 17, 19 if sick else 16, 1.5))
        add(stay, "spo2", hours, _walk(rng, n, 90 if "copd" in true else 97, 94 if "copd" in true else 98, 1))
        some = hours[::4]
        add(stay, "temperature", some, _walk(rng, len(some), 39.3 if sick else 36.9, 37.4 if sick else 36.8, 0.2))
        labs = np.arange(1.2, los, 8.0)
        m = len(labs)
        add(stay, "wbc", labs, _walk(rng, m, 19.2 if sick else 8.1, 13 if sick else 7.6, 0.6))
        add(stay, "creatinine", labs, _walk(rng, m, 1.1, 2.9 if kidney else 2.4 if sick else 1.0, 0.04))
        add(stay, "glucose", labs, _walk(rng, m, 612 if sugar else 118, 190 if sugar else 122, 8))
        add(stay, "platelets", labs, _walk(rng, m, 210, 118 if sick else 222, 8))
        if sick:
            add(stay, "lactate", labs, _walk(rng, m, 4.1, 1.4, 0.15))
            add(stay, "bilirubin", labs[::2], _walk(rng, len(labs[::2]), 1.0, 2.1, 0.1))
            add(stay, "urine_output", some, _walk(rng, len(some), 22, 60, 5))
        for channel in patient.get("more", ()):
            low, high = BY_NAME[channel].plausible
            add(stay, channel, hours, _walk(rng, n, low + (high - low) / 3, low + (high - low) / 2, (high - low) / 60))
        if "acute_myocardial_infarction" in patient["recorded"][v]:
            add(stay, "troponin_i", labs, np.array([0.02, 0.02, 0.03, 0.02, 0.02, 0.02][:m]))
    columns["category"] = [None] * len(columns["hour"])
    return pa.table(columns).cast(TABLES["observations"])


def write_invented_cohort(folder: Path, patients: int = len(PATIENTS)) -> dict[str, Any]:
    """Write the cohort's folder; return its manifest."""
    rows = [row for row in _stay_rows() if PATIENTS.index(row["patient"]) < patients]
    ids = {(row["patient"]["key"], row["visit"]): row["stay_id"] for row in rows}
    start = np.datetime64("2140-03-01T06:00:00", "us")
    stays = {
        "stay_id": [r["stay_id"] for r in rows],
        "patient_id": [r["patient_id"] for r in rows],
        "patient_key": [r["patient"]["key"] for r in rows],
        "hospital_stay_id": [r["stay_id"] + 9 for r in rows],
        "hospital_id": [3] * len(rows),
        "visit": [r["visit"] + 1 for r in rows],
        "visit_order": ["unknown" if r["patient"]["key"] == "p-sugar" else "exact" for r in rows],
        "admitted_at": pa.array([start + np.timedelta64(90 * r["visit"], "D") for r in rows], pa.timestamp("us")),
        "los_hours": [r["los"] for r in rows],
        "age": pa.array([r["patient"]["age"] for r in rows], pa.float32()),
        "sex": [r["patient"]["sex"] for r in rows],
        "ethnicity": pa.array([None] * len(rows), pa.string()),
        "split": ["test" if is_test_patient(r["patient"]["key"]) else "train" for r in rows],
        "has_series": [r["patient"]["key"] not in NO_SERIES for r in rows],
        "has_note": [(r["patient"]["key"], r["visit"]) in TEXTS for r in rows],
    }
    notes: list[dict[str, Any]] = [
        {
            "stay_id": ids[place],
            "note_id": ids[place] * 10 + i,
            "hour": hour,
            "category": category,
            "text": text,
            "model_start": 0,
            "model_end": len(text),
        }
        for place, texts in TEXTS.items()
        if place in ids
        for i, (category, hour, text) in enumerate(texts)
    ]
    labels = [
        {
            "stay_id": r["stay_id"],
            "label": key,
            "source": "icd",
            "observed": int(key in r["patient"]["recorded"][r["visit"]]),
        }
        for r in rows
        if not (r["patient"]["key"] == "p-three-visits" and r["visit"] == 2)
        for key in KEYS
    ]
    evidence = [
        {
            "stay_id": ids[(key, visit)],
            "hour": hour,
            "kind": kind,
            "name": name,
            "value": value,
            "unit": unit,
            "text": text,
            "source": "invented",
        }
        for key, visit, hour, kind, name, value, unit, text in EVIDENCE
        if (key, visit) in ids
    ]
    tables = {
        "stays": pa.table(stays),
        "observations": _series(rows),
        "notes": pa.Table.from_pylist(notes, schema=TABLES["notes"]),
        "labels": pa.Table.from_pylist(
            [{**row, "code": None, "hour": None, "priority": None, "active_at_discharge": None} for row in labels],
            schema=TABLES["labels"],
        ),
        "review_evidence": pa.Table.from_pylist(evidence, schema=TABLES["review_evidence"]),
    }
    manifest = {
        "name": "invented patients",
        "source": "synthetic",
        "primary_source": "icd",
        "cutoff_hours": 48.0,
        "labels": [
            {
                "key": label.key,
                "name": label.name,
                "description": "",
                "persistence": label.persistence,
                "group": label.group,
                "codes": {"icd9": [], "icd10": []},
                "guideline": label.key,
            }
            for label in PHENOTYPES
        ],
        "label_groups": [
            {
                "key": "diabetes",
                "name": "Diabetes mellitus",
                "labels": ["diabetes_with_complications", "diabetes_without_complication"],
            },
            {
                "key": "hypertension",
                "name": "Hypertension",
                "labels": ["essential_hypertension", "hypertension_with_complications"],
            },
        ],
        "channels": manifest_channels(),
        "attrition": [],
        "licence": "invented data, no licence needed",
        "labels_against": "recorded",
    }
    return write_cohort(folder, tables, manifest)


def round_tables(flags: list[tuple[str, int, str, float]]) -> dict[str, pa.Table]:
    """Hand-made tables of a round over the invented cohort; `flags` are what it flags, most suspect first."""
    rng = np.random.default_rng(11)
    flagged = {(key, visit, label): (i + 1, p) for i, (key, visit, label, p) in enumerate(flags)}
    pairs: list[dict[str, Any]] = []
    evidence: list[dict[str, Any]] = []
    for row in _stay_rows():
        patient, v = row["patient"], row["visit"]
        if patient["key"] == "p-three-visits" and v == 2:
            continue
        test = is_test_patient(patient["key"])
        for label_id, key in enumerate(KEYS):
            observed = int(key in patient["recorded"][v])
            rank_p = flagged.get((patient["key"], v, key))
            noise = float(rng.uniform(0.02, 0.25))
            corrected = abs(observed - (rank_p[1] if rank_p else noise))
            score = float(rng.uniform(0.75, 0.97)) if rank_p else float(rng.uniform(0.03, 0.5))
            history = np.clip(np.linspace(0.5, corrected, EPOCHS) + rng.normal(0, 0.03, EPOCHS), 0, 1)
            pairs.append(
                {
                    "stay_id": row["stay_id"],
                    "patient_id": row["patient_id"],
                    "visit": v + 1,
                    "split": "test" if test else "train",
                    "label_id": label_id,
                    "observed": observed,
                    "given": float(observed),
                    "probability": corrected,
                    "probability_series": min(1.0, corrected * 0.9),
                    "probability_note": corrected if (patient["key"], v) in TEXTS else None,
                    "rank": 1 + label_id,
                    "difficulty": float(rng.uniform(0, 1)),
                    "selection_score": score,
                    "uncertainty": float(rng.uniform(0, 1)),
                    "partition": "noisy" if rank_p else "uncertain" if score > 0.42 else "clean",
                    "eligible": True,
                    "corrected": corrected,
                    "suggested": int(corrected >= 0.5),
                    "flagged": rank_p is not None,
                    "direction": "false_positive" if observed else "false_negative",
                    "error_probability": abs(corrected - observed),
                    "suspicion_rank": rank_p[0] if rank_p else None,
                    "history": np.round(255 * history).astype("uint8").tobytes(),
                }
            )
            texts = TEXTS.get((patient["key"], v), [])
            if rank_p and texts:
                evidence.append(
                    {
                        "stay_id": row["stay_id"],
                        "label_id": label_id,
                        "kind": "note",
                        "evidence_stay_id": row["stay_id"],
                        "note_id": row["stay_id"] * 10,
                        "char_start": 20,
                        "char_end": 70,
                        "channel": None,
                        "hour_start": None,
                        "hour_end": None,
                        "method": "gradient",
                        "negated": None,
                        "weight": 0.6,
                    }
                )
    labels = [
        {
            "label_id": i,
            "label_key": label.key,
            "name": label.name,
            "description": "",
            "persistence": label.persistence,
            "label_group": label.group,
            "prevalence": 0.2,
            "rho_plus": 0.1,
            "rho_minus": 0.05,
        }
        for i, label in enumerate(PHENOTYPES)
    ]
    mixtures = [
        {
            "label_id": i,
            "observed_class": observed,
            "n": 11,
            "mean_clean": 0.22,
            "mean_noisy": 0.85,
            "sd_clean": 0.12,
            "sd_noisy": 0.07,
            "weight_clean": 0.85,
            "weight_noisy": 0.15,
            "score_min": -2.0,
            "score_max": 6.0,
            "degenerate": observed == 1,
            "reason": "too few pairs" if observed == 1 else None,
        }
        for i in range(len(PHENOTYPES))
        for observed in (0, 1)
    ]
    epochs = []
    for epoch in range(1, EPOCHS + 1):
        fall = float(np.exp(-epoch / 5))
        row_of: dict[str, Any] = dict.fromkeys(ROUND_TABLES["epoch"].names, 0.1 + 0.3 * fall)
        row_of |= {"epoch": epoch, "loss_total": 0.4 + fall, "n_clean": 250 - 2 * epoch, "n_uncertain": 12 + epoch}
        row_of |= {"n_noisy": epoch, "n_locked": 0}
        row_of |= {name: 0.8 - 0.3 * fall for name in ROUND_TABLES["epoch"].names if name.startswith("test_")}
        epochs.append(row_of)
    made = {
        "label": labels,
        "pair": pairs,
        "mixture": mixtures,
        "epoch": epochs,
        "evidence": evidence,
        "detector_score": [],
    }
    return {name: pa.Table.from_pylist(rows, schema=ROUND_TABLES[name]) for name, rows in made.items()}


def findings(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The same round with detectors' scores, a regression's word, expected harm and a comparison."""
    rng = np.random.default_rng(5)
    pairs = [row for row in tables["pair"].to_pylist() if row["split"] == "train"]
    scores = []
    for row in pairs:
        own = {name: row["error_probability"] + float(rng.normal(0, 0.08)) for name in TITLES}
        own["visits"] = 0.0
        own["neighbours"] = min(1.0, 0.05 + 0.9 * row["error_probability"])
        scores.append({"stay_id": row["stay_id"], "label_id": row["label_id"], **own})
    peer = np.clip(tables["pair"]["corrected"].to_numpy() + rng.normal(0, 0.05, tables["pair"].num_rows), 0, 1)
    place = tables["pair"].column_names.index("probability_peer")
    harm = []
    for label_id in range(len(KEYS)):
        for direction in ("false_negative", "false_positive"):
            alone = (label_id + (direction == "false_positive")) % 4 == 0
            changed = 0 if alone else int(rng.integers(3, 60))
            worse = float(changed * rng.uniform(0.05, 0.45))
            before = float(rng.uniform(0.2, 0.8) if alone else 40 + changed)
            harm.append(
                {
                    "label_id": label_id,
                    "direction": direction,
                    "pairs": 300,
                    "changed": changed,
                    "expected_better": changed - worse,
                    "expected_worse": worse,
                    "expected_error_before": before,
                    "expected_error_after": before - (0 if alone else changed - 2 * worse),
                    "left_alone": alone,
                    "reason": "no noise found" if alone else "more good than harm expected",
                }
            )
    compared = {
        "metric": "map",
        "with_decisions": 0.431,
        "without_decisions": 0.417,
        "difference": 0.014,
        "low": 0.004,
        "high": 0.025,
        "n_patients": 1204,
        "note": "recorded labels; 12 of 30,100 test labels as decided",
    }
    names = list(scores[0])[2:]
    kinds = [pa.field("stay_id", pa.int64()), pa.field("label_id", pa.int16())]
    labels = tables["label"]
    for name in ("rho_plus", "rho_minus"):
        rates = pa.array(rng.uniform(0, 0.3 if name == "rho_plus" else 0.05, len(KEYS)))
        labels = labels.set_column(labels.column_names.index(name), name, rates)
    return {
        **tables,
        "label": labels,
        "pair": tables["pair"].set_column(place, "probability_peer", pa.array(peer, pa.float32())),
        "detector_score": pa.Table.from_pylist(
            scores, schema=pa.schema([*kinds, *(pa.field(name, pa.float32()) for name in names)])
        ),
        "harm": pa.Table.from_pylist(harm, schema=OPTIONAL_TABLES["harm"]),
        "comparison": pa.Table.from_pylist([compared], schema=OPTIONAL_TABLES["comparison"]),
    }


def publish_first(store: Store, flags: list[tuple[str, int, str, float]], *, found: bool = False) -> None:
    """Publish round 1 over the invented cohort that stands in the store's workspace."""
    manifest = store.workspace.manifest()
    info = {
        "round_id": 1,
        "parent": None,
        "created_at": "2026-11-21T08:00:00+00:00",
        "preset": "miracl",
        "config": {},
        "code_version": "0.1.0",
        "cohort_fingerprint": manifest["fingerprint"],
        "cohort_name": manifest["name"],
        "decisions_count": 40 if found else 0,
        "decisions_last_id": 0,
        "decisions_head": "",
        "seed": 30,
        "device": "cpu",
        "seconds": 12.0,
        "peak_memory_mb": 300.0,
        "budget": len(flags),
        "schema_version": 2,
        "calibrated": found,
    }
    tables = round_tables(flags)
    publish_round(store, 1, info, findings(tables) if found else tables, operator())


def make_workspace(
    folder: Path,
    flags: list[tuple[str, int, str, float]] | None = None,
    *,
    role: str = "steward",
    demo: bool = False,
    with_round: bool = True,
    found: bool = False,
) -> Invented:
    """A workspace with the cohort, one round and one person (`NAME`, `PASSWORD`); `found`: with all its findings."""
    flags = FLAGS if flags is None else flags
    workspace = create_workspace(folder)
    write_invented_cohort(workspace.cohort)
    store = open_store(workspace)
    add_person(store, operator(), NAME, PASSWORD, display_name="Dr Mara Vance", role=role)
    if demo:
        add_person(store, operator(), DEMO_NAME, DEMO_PASSWORD, display_name="Demo reader", role="steward", demo=True)
    if with_round:
        publish_first(store, flags, found=found)
    stays = {(row["patient"]["key"], row["visit"]): row["stay_id"] for row in _stay_rows()}
    return Invented(folder, store, stays)
