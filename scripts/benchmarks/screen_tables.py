"""Invented tables of any size for the screens' benchmark: a few thousand invented stays laid side by side, and rounds.

The pool comes from the inventor of the demo's patients; copies of it differ in ids alone, notes are lengthened with
other stays' sentences to what an ICU stay has, and some stays get a long series of every model channel. Scores are
drawn, so what a round flags means nothing: only sizes, types and keys are those of a real round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from audit_store.detector_words import TITLES
from audit_store.schema import ROUND_SCHEMA_VERSION
from core.cohort.channels import MODEL_CHANNELS
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import TABLES
from core.cohort.sources.synthetic import NoiseSpec, build_synthetic
from core.cohort.store import write_cohort

EPOCHS = 30
FLAGGED_SHARE = 0.02
PASSAGES_PER_FLAG = 3
SENTENCES_FROM = 5
"""Notes whose text is added to a note: about 2,300 characters then, as an ICU progress note has."""
LONG_HOURS = 480.0
NOISE = NoiseSpec(kind="balanced", rho_plus=0.2)


@dataclass(frozen=True)
class Size:
    """How much is invented.

    Parameters
    ----------
    stays, rounds
        Of the workspace; the paper's size is 59,798 stays.
    pool
        Stays that are really invented; the others are copies of them.
    long_stays
        Stays of twenty days with an hourly value of each of the model's channels.
    decisions
        Answers in the store.
    readers
        Accounts beside the one at the browser.
    """

    stays: int = 59_798
    rounds: int = 10
    pool: int = 2_000
    long_stays: int = 12
    decisions: int = 3_000
    readers: int = 19

    @property
    def pairs(self) -> int:
        """Pairs of a round."""
        return self.stays * len(PHENOTYPES)


PAPER = Size()
QUICK = Size(stays=400, rounds=2, pool=200, long_stays=2, decisions=40, readers=2)


def write_copies(folder: Path, aside: Path, size: Size, seed: int) -> dict[str, Any]:
    """Invent `size.pool` stays in `aside`, lay copies side by side, and write them as a cohort; return its manifest."""
    manifest = build_synthetic(aside, stays=size.pool, seed=seed, noise=NOISE, noise_seed=seed + 1)
    pool = {name: pq.read_table(aside / f"{name}.parquet") for name in TABLES}
    pool["notes"] = lengthened(pool["notes"], seed)
    copies = -(-size.stays // size.pool)
    tables = {name: copied(table, copies) for name, table in pool.items()}
    tables["stays"] = tables["stays"].slice(0, size.stays)
    kept = tables["stays"]["stay_id"].combine_chunks()
    tables = {name: table.filter(pc.is_in(table["stay_id"], value_set=kept)) for name, table in tables.items()}
    tables["stays"], tables["observations"] = prolonged(tables["stays"], tables["observations"], size.long_stays, seed)
    given = {key: value for key, value in manifest.items() if key not in ("counts", "tables", "fingerprint")}
    return write_cohort(folder, tables, {**given, "name": f"{size.stays} copies of invented stays"})


def copied(table: pa.Table, copies: int) -> pa.Table:
    """Lay copies of a table one after the other; ids of stays, patients, hospital stays and notes are apart in each."""
    step = {name: _span(table[name]) for name in table.column_names if name.endswith("_id") and name != "hospital_id"}
    made = []
    for copy in range(copies):
        part = table
        for name, span in step.items():
            place = part.column_names.index(name)
            shifted = pc.add(part[name], pa.scalar(copy * span, pa.int64()))
            part = part.set_column(place, part.schema.field(name), shifted)
        if "patient_key" in part.column_names:
            place = part.column_names.index("patient_key")
            keys = pc.binary_join_element_wise(part["patient_key"], pa.scalar(f"copy {copy}"), " ")
            part = part.set_column(place, part.schema.field("patient_key"), keys)
        made.append(part)
    return pa.concat_tables(made)


def _span(column: pa.ChunkedArray) -> int:
    """How far apart the copies' ids lie, so that none meet."""
    ends = pc.min_max(column).as_py()
    return 0 if ends["max"] is None else int(ends["max"] - ends["min"]) + 1


def lengthened(notes: pa.Table, seed: int) -> pa.Table:
    """Add other notes' text to each note; the model's span stays the whole text."""
    rng = np.random.default_rng(seed)
    text = notes["text"].combine_chunks()
    parts = [text, *(text.take(pa.array(rng.integers(0, len(text), len(text)))) for _ in range(SENTENCES_FROM))]
    joined = pc.binary_join_element_wise(*parts, "\n")
    read = pc.is_valid(notes["model_end"])
    ends = pc.if_else(read, pc.cast(pc.utf8_length(joined), pa.int32()), pa.scalar(None, pa.int32()))
    for name, values in (("text", joined), ("model_end", ends)):
        notes = notes.set_column(notes.column_names.index(name), notes.schema.field(name), values)
    return notes


def prolonged(stays: pa.Table, observations: pa.Table, count: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Give the first `count` training stays twenty days of hourly values in each of the model's channels."""
    long = stays.filter(pc.equal(stays["split"], "train")).slice(0, count)["stay_id"].combine_chunks()
    hit = pc.is_in(stays["stay_id"], value_set=long)
    for name, value in (("los_hours", pa.scalar(LONG_HOURS)), ("has_series", pa.scalar(True))):
        stays = stays.set_column(
            stays.column_names.index(name), stays.schema.field(name), pc.if_else(hit, value, stays[name])
        )
    rng = np.random.default_rng(seed)
    hours = np.arange(0.5, LONG_HOURS, 1.0, dtype=np.float32)
    made = [observations.filter(pc.invert(pc.is_in(observations["stay_id"], value_set=long)))]
    for channel in MODEL_CHANNELS:
        low, high = channel.normal or channel.plausible
        middle, width = ((low or 0) + (high or 1)) / 2, abs((high or 1) - (low or 0)) or 1.0
        for stay in long.to_pylist():
            if channel.codes is not None:
                codes = rng.integers(0, len(channel.codes), len(hours))
                values = np.array(channel.codes)[codes]
                words: Any = pa.array(np.array(channel.categories, dtype=object)[codes], pa.string())
            else:
                wave = np.sin(hours / 24 * np.pi) + rng.normal(0, 0.4, len(hours))
                values = np.clip(middle + width * wave, *channel.plausible)
                words = pa.nulls(len(hours), pa.string())
            columns = [pa.array(np.full(len(hours), stay)), pa.array(hours), pa.array([channel.name] * len(hours))]
            columns += [pa.array(values.astype(np.float32)), words]
            made.append(pa.table(columns, schema=TABLES["observations"]))
    return stays, pa.concat_tables([part.cast(TABLES["observations"]) for part in made])


def round_tables(
    stays: pa.Table, labels: pa.Table, notes: pa.Table, seed: int, share: float = FLAGGED_SHARE
) -> dict[str, pa.Table]:
    """A round's tables over a cohort: every pair with drawn scores, two in a hundred flagged.

    Parameters
    ----------
    stays
        stay_id, patient_id, visit, split.
    labels
        stay_id, label, observed of one source; stays in the order of `stays`.
    notes
        stay_id, note_id: where evidence may point.
    seed
        Of the draws.
    share
        Of the pairs that are flagged; those of test patients never are.
    """
    rng = np.random.default_rng(seed)
    ids = stays["stay_id"].to_numpy()
    n, k = len(ids), len(PHENOTYPES)
    observed = recorded(ids, labels)
    train = np.repeat((stays["split"].to_numpy(zero_copy_only=False) == "train")[:, None], k, axis=1)
    error = rng.beta(1.2, 9.0, (n, k)).astype(np.float32)
    count = max(1, min(int(share * n * k), int(train.sum())))
    order = np.argsort(np.where(train, -error, 1.0), axis=None, kind="stable")[:count]
    error.ravel()[order] = np.linspace(0.97, 0.55, count, dtype=np.float32)
    rank = np.zeros(n * k, np.int32)
    rank[order] = np.arange(1, count + 1)
    corrected = np.abs(observed - error)
    score = np.where(rank.reshape(n, k) > 0, 0.6 + 0.4 * error, error).astype(np.float32)
    history = np.clip(np.linspace(0.5, corrected.ravel(), EPOCHS, axis=1), 0, 1)
    history = np.round(255 * np.clip(history + rng.normal(0, 0.03, (1, EPOCHS)), 0, 1)).astype(np.uint8)
    probability = np.clip(corrected, 0, 1)
    place = (-probability).argsort(axis=1).argsort(axis=1).astype(np.int16) + 1
    flat = {
        **{name: np.repeat(stays[name].to_numpy(zero_copy_only=False), k) for name in ("stay_id", "patient_id")},
        "visit": np.repeat(stays["visit"].to_numpy(), k),
        "split": np.repeat(stays["split"].to_numpy(zero_copy_only=False), k),
        "label_id": np.tile(np.arange(k, dtype=np.int16), n),
        "observed": observed.ravel(),
        "given": observed.ravel().astype(np.float32),
        "probability": probability.ravel(),
        "probability_series": (0.9 * probability).ravel(),
        "probability_note": probability.ravel(),
        "probability_peer": probability.ravel(),
        "rank": place.ravel(),
        "difficulty": rng.random(n * k, np.float32),
        "selection_score": np.clip(score, 0, 1).ravel(),
        "uncertainty": rng.random(n * k, np.float32),
        "partition": np.where(rank > 0, "noisy", np.where(error.ravel() > 0.3, "uncertain", "clean")),
        "eligible": np.ones(n * k, np.bool_),
        "corrected": corrected.ravel(),
        "suggested": (corrected.ravel() >= 0.5).astype(np.uint8),
        "flagged": rank > 0,
        "direction": np.where(observed.ravel() == 1, "false_positive", "false_negative"),
        "error_probability": error.ravel(),
    }
    pair = pa.table(flat)
    pair = pair.append_column("suspicion_rank", pa.array(rank, mask=rank == 0))
    blobs = pa.FixedSizeBinaryArray.from_buffers(pa.binary(EPOCHS), n * k, [None, pa.py_buffer(history.tobytes())])
    flagged = pair.select(["stay_id", "label_id"]).filter(pa.array(rank > 0))
    trained = np.flatnonzero(train.ravel())
    scores = {name: flat[name][trained] for name in ("stay_id", "label_id")}
    lean = error.ravel()[trained]
    scores |= {name: (lean + rng.random(len(lean), np.float32)).astype(np.float32) for name in TITLES}
    return {
        "label": pa.Table.from_pylist(_labels(observed)),
        "pair": pair.append_column("history", blobs),
        "mixture": pa.Table.from_pylist(_mixtures(observed)),
        "epoch": pa.Table.from_pylist([_epoch(epoch) for epoch in range(1, EPOCHS + 1)]),
        "evidence": _evidence(flagged, notes, rng),
        "detector_score": pa.table(scores),
    }


def recorded(ids: np.ndarray, labels: pa.Table) -> np.ndarray:
    """uint8 [stays, labels]: what is recorded, absent where a stay has no such row."""
    column = {label.key: place for place, label in enumerate(PHENOTYPES)}
    made = np.zeros((len(ids), len(column)), np.uint8)
    known = labels["label"].combine_chunks().dictionary_encode()
    places = np.array([column[key] for key in known.dictionary.to_pylist()])[known.indices.to_numpy()]
    order = np.argsort(ids)
    rows = order[np.searchsorted(ids, labels["stay_id"].to_numpy(), sorter=order)]
    made[rows, places] = pc.fill_null(labels["observed"], 0).to_numpy()
    return made


def _evidence(flagged: pa.Table, notes: pa.Table, rng: np.random.Generator) -> pa.Table:
    """A few marked passages for each flagged pair, in the first note of its stay."""
    stays, first = np.unique(notes["stay_id"].to_numpy(), return_index=True)
    pairs = flagged.filter(pc.is_in(flagged["stay_id"], value_set=pa.array(stays)))
    stay = np.repeat(pairs["stay_id"].to_numpy(), PASSAGES_PER_FLAG)
    start = np.tile(np.arange(PASSAGES_PER_FLAG, dtype=np.int32) * 60, pairs.num_rows)
    note = notes["note_id"].to_numpy()[first[np.searchsorted(stays, stay)]]
    return pa.table(
        {
            "stay_id": stay,
            "label_id": np.repeat(pairs["label_id"].to_numpy(), PASSAGES_PER_FLAG),
            "kind": np.full(len(stay), "note"),
            "evidence_stay_id": stay,
            "note_id": note,
            "char_start": start,
            "char_end": start + 30,
            "method": np.full(len(stay), "gradient"),
            "weight": rng.normal(0, 0.5, len(stay)).astype(np.float32),
        }
    )


def _labels(observed: np.ndarray) -> list[dict[str, Any]]:
    rates = {"rho_plus": 0.1, "rho_minus": 0.1}
    return [
        {
            "label_id": place,
            "label_key": label.key,
            "name": label.name,
            "persistence": label.persistence,
            "label_group": label.group,
            "prevalence": float(observed[:, place].mean()),
            **rates,
        }
        for place, label in enumerate(PHENOTYPES)
    ]


def _mixtures(observed: np.ndarray) -> list[Mapping[str, Any]]:
    fitted = {"mean_clean": 0.2, "mean_noisy": 0.8, "sd_clean": 0.1, "sd_noisy": 0.1, "weight_clean": 0.9}
    return [
        {
            "label_id": place,
            "observed_class": kind,
            "n": int((observed[:, place] == kind).sum()),
            **fitted,
            "weight_noisy": 0.1,
            "score_min": 0.0,
            "score_max": 1.0,
            "degenerate": False,
        }
        for place in range(len(PHENOTYPES))
        for kind in (0, 1)
    ]


def _epoch(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "seconds": 60.0, "loss_total": 1 / epoch, "test_map": 0.4 * (1 - 0.9**epoch)}


def round_info(round_id: int, manifest: Mapping[str, Any], tables: Mapping[str, pa.Table], seed: int) -> dict[str, Any]:
    """Give the fields of the invented round's round.json."""
    return {
        "round_id": round_id,
        "parent": round_id - 1 or None,
        "created_at": f"2026-11-{round_id:02}T08:00:00+00:00",
        "preset": "invented",
        "config": {},
        "code_version": "0.1.0",
        "cohort_fingerprint": manifest["fingerprint"],
        "cohort_name": manifest["name"],
        "decisions_count": 0,
        "decisions_last_id": 0,
        "decisions_head": "",
        "seed": seed,
        "device": "cpu",
        "seconds": 1.0,
        "peak_memory_mb": 1.0,
        "budget": int(tables["pair"]["suspicion_rank"].drop_null().length()),
        "schema_version": ROUND_SCHEMA_VERSION,
        "calibrated": True,
    }
