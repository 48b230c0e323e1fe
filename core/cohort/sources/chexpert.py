"""The 14 CheXpert labels of chest films as a cohort's labels: the diagnosis task of the paper, for MIMIC-IV's stays.

The user gives the two files that MIMIC-CXR-JPG publishes: what a labeller read out of each study's report (1 present, 0
absent, -1 uncertain, blank not mentioned), and when each film was taken. A study belongs to the ICU stay of its patient
in which it was taken; portable films (AP) count, as in the published extraction. Neither film nor report is read.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.cohort.csv_file import Reader, header
from core.cohort.labelset import Label
from core.cohort.sources.mimic_labels import CHEXPERT, LabelTask
from core.cohort.sources.mimic_tables import MimicTables
from core.errors import ConfigError, SourceError

LABEL_FILE, TIME_FILE = "mimic-cxr-2.0.0-chexpert.csv", "mimic-cxr-2.0.0-metadata.csv"
VIEW = "AP"
UNCERTAIN, MISSING, STUDIES = ("positive", "negative", "ignore"), ("negative", "ignore"), ("any", "last")
FINDINGS: tuple[Label, ...] = (
    Label("cxr_atelectasis", "Atelectasis", "acute"),
    Label("cxr_cardiomegaly", "Cardiomegaly", "recurrent"),
    Label("cxr_consolidation", "Consolidation", "acute"),
    Label("cxr_edema", "Edema", "acute"),
    Label("cxr_enlarged_cardiomediastinum", "Enlarged Cardiomediastinum", "recurrent"),
    Label("cxr_fracture", "Fracture", "recurrent"),
    Label("cxr_lung_lesion", "Lung Lesion", "recurrent"),
    Label("cxr_lung_opacity", "Lung Opacity", "acute"),
    Label("cxr_no_finding", "No Finding", "acute"),
    Label("cxr_pleural_effusion", "Pleural Effusion", "acute"),
    Label("cxr_pleural_other", "Pleural Other", "recurrent"),
    Label("cxr_pneumonia", "Pneumonia", "acute"),
    Label("cxr_pneumothorax", "Pneumothorax", "acute"),
    Label("cxr_support_devices", "Support Devices", "acute"),
)
"""Labels in the file's order of names; a key of its own, since pneumonia on a film is not the phenotype."""
NO_FINDING = "cxr_no_finding"
"""Present only where no other finding is."""
_TODO = "give the folder with both files of MIMIC-CXR-JPG"


@dataclass(frozen=True)
class FilmPolicy:
    """How a study's words become a stay's labels.

    Parameters
    ----------
    uncertain
        What -1 counts as: ``positive``, ``negative`` or ``ignore`` (not stated).
    missing
        What a blank counts as: ``negative`` or ``ignore``.
    studies
        ``any``: present if any study of the stay says so, absent if one says that and none the other; ``last``: the
        stay's last study alone.

    Raises
    ------
    ConfigError
        On another word.
    """

    uncertain: str = "ignore"
    missing: str = "ignore"
    studies: str = "any"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("uncertain", self.uncertain, UNCERTAIN),
            ("missing", self.missing, MISSING),
            ("studies", self.studies, STUDIES),
        ):
            if value not in known:
                raise ConfigError(f"--{name} among {', '.join(known)}", repr(value), "choose one of them")


def chexpert_task(folder: Path, policy: FilmPolicy | None = None) -> LabelTask:
    """Label a MIMIC-IV cohort with chest films.

    Parameters
    ----------
    folder
        Holds `LABEL_FILE` and `TIME_FILE`, `.csv` or `.csv.gz`.
    policy
        By default what the published training does: uncertain and missing are not stated.

    Raises
    ------
    SourceError
        When the folder or a file is not there, or lacks a column.
    """
    if not folder.is_dir():
        raise SourceError("a folder with the labels of chest films", "no such folder", _TODO)
    columns = {name: _columns(_found(folder, name), needed) for name, needed in _NEEDED.items()}
    return LabelTask(
        CHEXPERT,
        {"kind": "labels", "title": "chest film labels"},
        "labels of chest films",
        "a labelled chest film",
        chexpert_labels,
        _no_groups,
        partial(_load, folder, columns, policy or FilmPolicy()),
    )


def chexpert_labels() -> list[dict[str, Any]]:
    """Entries of the manifest's `labels`."""
    return [
        {
            "key": label.key,
            "name": label.name,
            "description": f"{label.name} on a chest film of the stay, as its report has it",
            "persistence": label.persistence,
            "group": None,
            "alone": label.key == NO_FINDING,
            "codes": {},
            "guideline": label.key,
        }
        for label in FINDINGS
    ]


def _no_groups() -> list[dict[str, Any]]:
    return []


_NEEDED: dict[str, tuple[str, ...]] = {
    LABEL_FILE: ("subject_id", "study_id", *(label.name.lower() for label in FINDINGS)),
    TIME_FILE: ("subject_id", "study_id", "viewposition", "studydate", "studytime"),
}


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise SourceError(f"{name} or {name}.gz", "neither in the folder", _TODO)


def _columns(path: Path, needed: tuple[str, ...]) -> dict[str, int]:
    names = [name.lower() for name in header(path)]
    absent = [name for name in needed if name not in names]
    if absent:
        raise SourceError(f"{path.name} with {len(needed)} columns", f"none named {', '.join(absent)[:90]}", _TODO)
    return {name: names.index(name) for name in needed}


def _load(
    folder: Path, columns: dict[str, dict[str, int]], policy: FilmPolicy, raw: MimicTables, release: str
) -> dict[str, Any]:
    """Build table `label` from the studies of the kept stays; return how they fell."""
    with Reader(raw.lenient) as reader:
        _load_films(reader, folder, columns)
        films: pa.Table = reader.sql.sql("SELECT * FROM film").to_arrow_table()
        words: pa.Table = reader.sql.sql("SELECT * FROM word").to_arrow_table()
        counts = {"studies": reader.count("SELECT count(*) FROM label_file"), "portable_studies": films.num_rows}
        for reason, rows in reader.set_aside.items():
            raw.set_aside[reason] = raw.set_aside.get(reason, 0) + rows
    raw.read += [_found(folder, name).name for name in _NEEDED]
    raw.sql.register("film", films)
    raw.sql.register("word", words)
    last = "QUALIFY rank() OVER (PARTITION BY stay_id ORDER BY taken DESC, study_id DESC) = 1"
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE taken AS
        SELECT stay_id, study_id, taken, epoch(taken - intime) / 3600.0 AS hour
        FROM film JOIN stay ON subject_id = patient_id AND taken >= intime AND taken <= outtime
        {last if policy.studies == "last" else ""}"""
    )
    raw.sql.execute(_rows(policy))
    raw.sql.unregister("film")
    raw.sql.unregister("word")
    return {
        **counts,
        "policy": {"uncertain": policy.uncertain, "missing": policy.missing, "studies": policy.studies},
        "view": VIEW,
        "studies_in_stays": raw.count("SELECT count(*) FROM taken"),
        "coded_stays": raw.count("SELECT count(DISTINCT stay_id) FROM label"),
    }


def _rows(policy: FilmPolicy) -> str:
    value = {"positive": "1", "negative": "0", "ignore": "NULL"}
    return f"""CREATE OR REPLACE TABLE label AS
        WITH said AS (
            SELECT stay_id, label, hour, said,
                CASE said WHEN 1 THEN 1 WHEN 0 THEN 0 WHEN -1 THEN {value[policy.uncertain]}
                    ELSE {value[policy.missing]} END AS value
            FROM taken JOIN word USING (study_id)
        ), counted AS (
            SELECT stay_id, label, max(value)::UTINYINT AS observed,
                coalesce(min(hour) FILTER (value = 1), min(hour) FILTER (value = 0)) AS hour,
                count(*) FILTER (said = 1) AS yes, count(*) FILTER (said = 0) AS no,
                count(*) FILTER (said = -1) AS maybe, count(*) AS films
            FROM said GROUP BY ALL
        )
        SELECT stay_id, label, '{CHEXPERT}' AS source, observed,
            concat_ws(', ', CASE WHEN yes > 0 THEN yes || ' present' END, CASE WHEN no > 0 THEN no || ' absent' END,
                CASE WHEN maybe > 0 THEN maybe || ' uncertain' END) || ' of ' || films
                || CASE films WHEN 1 THEN ' film' ELSE ' films' END AS code,
            hour::FLOAT AS hour, NULL::VARCHAR AS priority, NULL::BOOLEAN AS active_at_discharge
        FROM counted WHERE observed IS NOT NULL"""


def _load_films(reader: Reader, folder: Path, columns: dict[str, dict[str, int]]) -> None:
    """Tables `film` (subject_id, study_id, taken) and `word` (study_id, label, said: 1, 0, -1 or null)."""
    paths = {"label_file": _found(folder, LABEL_FILE), "time_file": _found(folder, TIME_FILE)}
    of_label, of_time = ({key: f"c{place}" for key, place in columns[name].items()} for name in (LABEL_FILE, TIME_FILE))
    for (table, path), of in zip(paths.items(), (of_label, of_time), strict=True):
        reader.load(path, table, [int(column[1:]) for column in of.values()])
        for key in ("subject_id", "study_id"):
            bad = f"TRY_CAST({of[key]} AS BIGINT) IS NULL"
            _only(reader, table, bad, f"a number as {key} in {path.name}", "other text")
    label_name, time_name = (path.name for path in paths.values())
    study = of_label["study_id"]
    twice = f"line NOT IN (SELECT min(line) FROM label_file GROUP BY {study})"
    _only(reader, "label_file", twice, f"one row for each study in {label_name}", "repetitions")
    day, clock = of_time["studydate"], of_time["studytime"]
    moment = f"strptime({day} || lpad(split_part({clock}, '.', 1), 6, '0'), '%Y%m%d%H%M%S')"
    told = f"try_strptime({day} || lpad(split_part({clock}, '.', 1), 6, '0'), '%Y%m%d%H%M%S')"
    portable = f"coalesce({of_time['viewposition']}, '') = '{VIEW}'"
    _only(
        reader, "time_file", f"{portable} AND {told} IS NULL", f"StudyDate and StudyTime in {time_name}", "other text"
    )
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE film AS
        SELECT {of_time["subject_id"]}::BIGINT AS subject_id, {of_time["study_id"]}::BIGINT AS study_id,
            max({moment}) AS taken
        FROM time_file WHERE {portable} GROUP BY ALL"""
    )
    wide = ", ".join(f"{of_label[label.name.lower()]} AS {label.key}" for label in FINDINGS)
    keys = ", ".join(label.key for label in FINDINGS)
    reader.sql.execute(
        f"""CREATE OR REPLACE TABLE word AS SELECT line, study_id, label, text, TRY_CAST(text AS DOUBLE) AS said
        FROM (SELECT line, {study}::BIGINT AS study_id, {wide} FROM label_file)
        UNPIVOT INCLUDE NULLS (text FOR label IN ({keys}))"""
    )
    bad = "text IS NOT NULL AND coalesce(said NOT IN (-1, 0, 1), true)"
    _only(reader, "word", bad, f"1, 0, -1 or blank in {label_name}", "other values")
    if not reader.count("SELECT count(*) FROM film SEMI JOIN word USING (study_id)"):
        raise SourceError(f"portable films ({VIEW}) of {label_name} in {time_name}", "none", _TODO)


def _only(reader: Reader, table: str, bad: str, expected: str, came: str) -> None:
    """Refuse rows of that condition; a lenient reader deletes and counts them."""
    rows = reader.count(f"SELECT count(*) FROM {table} WHERE {bad}")
    if rows:
        first = reader.count(f"SELECT min(line) FROM {table} WHERE {bad}")
        reader.refuse(expected, f"{came} in {rows} rows, first in row {first}", "mend those rows", rows)
        reader.sql.execute(f"DELETE FROM {table} WHERE {bad}")
