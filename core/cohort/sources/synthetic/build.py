"""Put the invented patients together into a cohort: tables, recorded labels with their noise, manifest, truth."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.cohort.attrition import Attrition
from core.cohort.channels import CHANNELS, manifest_channels
from core.cohort.labelset import PHENOTYPES
from core.cohort.phenotypes import manifest_label_groups, manifest_labels
from core.cohort.schema import LABELS, NOTES, OBSERVATIONS, STAYS, TRUTH
from core.cohort.sources.synthetic.config import MIN_STAYS, NoiseSpec, SyntheticConfig
from core.cohort.sources.synthetic.evidence import draw_evidence
from core.cohort.sources.synthetic.notes import Notes, write_notes
from core.cohort.sources.synthetic.patients import Patients, draw_patients
from core.cohort.sources.synthetic.series import Rows, draw_course, draw_series
from core.cohort.store import is_test_patient, write_cohort
from core.errors import ConfigError
from core.noise.context import NoiseContext, groups_of, place_in_time
from core.noise.hospital import HOSPITAL_KINDS, HospitalNoise, inject_hospital
from core.noise.injection import InjectedNoise, inject

Progress = Callable[[str], None]

NAME = "synthetic"
DESCRIPTION = (
    "Invented patients of a generator: no row stems from a person. Prevalences follow a published table of MIMIC-IV; "
    "associations, series, notes and evidence are made up. Good for testing methods, not for medical findings."
)
LICENCE = "MIT, as the generator; no real patient's data"
SOURCE = "icd"
_FIRST_PATIENT, _FIRST_STAY, _FIRST_NOTE = 10_000_000, 30_000_000, 50_000_000
_EPOCH = np.datetime64("2150-01-01T00:00:00", "us")
_SPREAD_DAYS = 3650.0
_ETHNICITIES = ("White", "Black", "Hispanic", "Asian", "Other")
_ETHNICITY_SHARES = (0.67, 0.11, 0.05, 0.04, 0.13)


def _plant(noise: NoiseSpec, patients: Patients, stays: pa.Table, seed: int) -> InjectedNoise:
    """Flip recorded labels of training stays; what depends on severity goes by the generator's own."""
    training = np.array(stays["split"].to_pylist()) == "train"
    member = np.broadcast_to(training[:, None], patients.truth.shape).copy()
    truth, config, flips = patients.truth.astype(np.uint8), noise.noise(), np.random.default_rng(seed)
    if not isinstance(config, HospitalNoise):
        return inject(truth, member, config, flips)
    context = NoiseContext(
        severity=patients.severity,
        patient=patients.patient.astype(np.int64),
        visit=patients.visit,
        order=place_in_time(stays),
        label_keys=tuple(label.key for label in PHENOTYPES),
        persistence=tuple(label.persistence for label in PHENOTYPES),
        groups=groups_of({"labels": manifest_labels(), "label_groups": manifest_label_groups()}),
    )
    return inject_hospital(truth, member, config, context, flips)


def _stays_table(
    patients: Patients, keys: list[str], has_series: np.ndarray, has_note: np.ndarray, rng: np.random.Generator
) -> pa.Table:
    n, owners = len(patients.los), int(patients.patient[-1]) + 1
    start = rng.random(owners)[patients.patient] * _SPREAD_DAYS + patients.since
    admitted = _EPOCH + (start * 86_400e6).astype("timedelta64[us]")
    ethnicity = rng.choice(len(_ETHNICITIES), size=owners, p=_ETHNICITY_SHARES)[patients.patient]
    split = np.where([is_test_patient(key) for key in keys], "test", "train")
    return pa.table(
        {
            "stay_id": pa.array(_FIRST_STAY + np.arange(n)),
            "patient_id": pa.array(_FIRST_PATIENT + patients.patient.astype(np.int64)),
            "patient_key": pa.array([keys[i] for i in patients.patient]),
            "hospital_stay_id": pa.nulls(n, pa.int64()),
            "hospital_id": pa.nulls(n, pa.int64()),
            "visit": pa.array(patients.visit.astype(np.int32)),
            "visit_order": pa.array(["exact"] * n),
            "admitted_at": pa.array(admitted),
            "los_hours": pa.array(patients.los),
            "age": pa.array(patients.age.astype(np.float32)),
            "sex": pa.array(np.where(patients.female, "F", "M")),
            "ethnicity": pa.array(np.array(_ETHNICITIES)[ethnicity]),
            "split": pa.array(split[patients.patient]),
            "has_series": pa.array(has_series),
            "has_note": pa.array(has_note),
        },
        schema=STAYS,
    )


def _observations_table(rows: Rows, stay_ids: np.ndarray, has_series: np.ndarray) -> pa.Table:
    """Arrow table of the observations; stays without series keep only what no model reads."""
    model = np.array([channel.model for channel in CHANNELS])
    kept = np.flatnonzero(has_series[rows.stay] | ~model[rows.channel])
    order = kept[np.lexsort((rows.channel[kept], rows.hour[kept], rows.stay[kept]))]
    channel, category = rows.channel[order], rows.category[order]
    names = sorted({name for c in CHANNELS for name in c.categories or ()})
    lookup = np.full((len(CHANNELS), max(len(c.categories or ()) for c in CHANNELS) + 1), -1, dtype=np.int16)
    for i, definition in enumerate(CHANNELS):
        for j, name in enumerate(definition.categories or ()):
            lookup[i, j] = names.index(name)
    codes = np.where(category >= 0, lookup[channel, category], -1)
    return pa.table(
        {
            "stay_id": pa.array(stay_ids[rows.stay[order]]),
            "hour": pa.array(rows.hour[order]),
            "channel": pa.DictionaryArray.from_arrays(pa.array(channel), list(rows.names)).cast(pa.string()),
            "value": pa.array(rows.value[order]),
            "category": pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), names).cast(pa.string()),
        },
        schema=OBSERVATIONS,
    )


def _notes_table(notes: Notes, stay_ids: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "stay_id": pa.array(stay_ids[np.array(notes.stay, dtype=np.int64)]),
            "note_id": pa.array(_FIRST_NOTE + np.arange(len(notes.stay))),
            "hour": pa.array(notes.hour, pa.float32()),
            "category": pa.array(notes.category, pa.string()),
            "text": pa.array(notes.text, pa.string()),
            "model_start": pa.array(notes.start, pa.int32()),
            "model_end": pa.array(notes.end, pa.int32()),
        },
        schema=NOTES,
    )


def _pairs(stay_ids: np.ndarray, matrix: np.ndarray, column: str, schema: pa.Schema) -> pa.Table:
    """Long form of a [stays, labels] matrix; columns of the schema that a generator can't know stay empty."""
    n, k = matrix.shape
    keys = pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(k, dtype=np.int16), n)), [label.key for label in PHENOTYPES]
    ).cast(pa.string())
    known: dict[str, Any] = {
        "stay_id": pa.array(np.repeat(stay_ids, k)),
        "label": keys,
        column: pa.array(matrix.astype(np.uint8).ravel()),
    }
    if "source" in schema.names:
        known["source"] = pa.array([SOURCE] * (n * k), pa.string())
    return pa.table({f.name: known.get(f.name, pa.nulls(n * k, f.type)) for f in schema}, schema=schema)


def build_synthetic(
    target: Path,
    *,
    stays: int = 2000,
    seed: int = 0,
    noise: NoiseSpec = NoiseSpec(),
    noise_seed: int | None = None,
    config: SyntheticConfig = SyntheticConfig(),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Invent a cohort and write it to `target`.

    Parameters
    ----------
    target
        Folder of the cohort; replaced once the new one is complete.
    stays
        How many, at least 50. Patients have one to five each.
    seed
        Of patients, series, notes and evidence. The same seed and size give the same tables, byte for byte.
    noise
        Label noise of the training stays; recorded labels of test stays are the truth.
    noise_seed
        Of the flips alone; `seed` if None.
    config
        Shares, sizes and effect strengths.
    progress
        Told what is being done.

    Returns
    -------
    dict
        The manifest as written; the clean labels lie under ``evaluation/``.

    Raises
    ------
    ConfigError
        When `stays`, `seed` or the noise is out of range.
    """
    if stays < MIN_STAYS:
        raise ConfigError(f"at least {MIN_STAYS} stays", str(stays), "ask for more")
    for name, value in (("seed", seed), ("noise_seed", noise_seed)):
        if value is not None and value < 0:
            raise ConfigError(f"{name} of 0 or more", str(value), "give another")
    noise.check()
    tell = progress or (lambda _: None)
    people, charts, papers, shares = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))

    tell(f"drawing {stays} stays")
    patients = draw_patients(stays, config, people)
    keys = [f"synthetic-{seed}-{i:06d}" for i in range(int(patients.patient[-1]) + 1)]
    stay_ids = _FIRST_STAY + np.arange(stays)
    luck = shares.random(stays)
    has_note = luck >= config.no_note
    has_series = (luck < config.no_note) | (luck >= config.no_note + config.no_series)

    tell("drawing series")
    course = draw_course(patients, config, charts)
    observations = _observations_table(draw_series(patients, course, config, charts), stay_ids, has_series)
    tell("writing notes")
    notes = _notes_table(write_notes(patients, course, has_note, config, seed), stay_ids)
    tell("drawing what readers find")
    evidence = draw_evidence(patients, stay_ids, papers)

    table = _stays_table(patients, keys, has_series, has_note, shares)
    injected = _plant(noise, patients, table, seed if noise_seed is None else noise_seed)
    tell("writing the cohort")
    log = Attrition("stays invented", stays)
    log.note("every stay has all 25 labels stated")
    return write_cohort(
        target,
        {
            "stays": table,
            "observations": observations,
            "notes": notes,
            "labels": _pairs(stay_ids, injected.observed, "observed", LABELS),
            "review_evidence": evidence,
        },
        {
            "name": f"{NAME}-{stays}-seed{seed}",
            "description": DESCRIPTION,
            "source": NAME,
            "primary_source": SOURCE,
            "labels_against": "truth-known",
            "labels": manifest_labels(),
            "label_groups": manifest_label_groups(),
            "channels": manifest_channels(),
            "attrition": log.lines(),
            "cutoff_hours": config.cutoff_hours,
            "licence": LICENCE,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "noise": _noise_entry(noise, injected, seed if noise_seed is None else noise_seed),
        },
        truth=_pairs(stay_ids, patients.truth, "clean", TRUTH),
    )


def _noise_entry(noise: NoiseSpec, injected: InjectedNoise, seed: int) -> dict[str, Any] | None:
    """Kind, mean P(1→0) and P(0→1) over the training pairs, and the rate where they follow from one."""
    if noise.kind == "none":
        return None
    entry = {"kind": noise.kind, "rho_plus": float(injected.rho_plus), "rho_minus": float(injected.rho_minus)}
    if noise.kind in HOSPITAL_KINDS:
        entry["rate"] = float(noise.rho_plus)
    return {**entry, "seed": seed}
