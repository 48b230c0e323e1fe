"""Labels in: an existing file of labels as a source of a cohort's labels, beside or instead of those it was built with.

Read are the phenotyping benchmark's `listfile.csv` (stay, period_length, labels; a stay is named by its series file),
FlexCare's (subject_id, stay_id, time_series, period_length, labels) or any file with stay_id and columns of labels, and
long files (stay_id, label, value or probability, and source, code, hour where they have them). A blank is not stated.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.cohort.csv_file import Reader, header
from core.cohort.labels_in_rows import FORMS, form_of, load_rows
from core.cohort.schema import LABELS
from core.errors import ConfigError, SourceError

_SAID = "SELECT stay_id, label, source, observed, code, hour FROM said ORDER BY stay_id, label, source"
LONGEST_NAME = 60
"""Characters of a source's name."""


@dataclass(frozen=True)
class LabelsIn:
    """A file of labels, and what it is to be in the cohort.

    Parameters
    ----------
    path
        The file, `.csv` or `.csv.gz`, or a folder with the benchmarks' listfiles of train and test: see `files_of`.
    form
        One of `FORMS`; ``auto`` tells it from the header.
    source
        What the source is called; None: ``listfile``, or ``file`` for a long one. A long file's column `source` wins.
    primary
        Whether this is the source that a round corrects.
    lenient
        Set aside and count what can be set aside, instead of refusing it.
    threshold
        Probability from which a model's word counts as present [0–1].
    replace
        Whether a source of that name in the cohort may go.

    Raises
    ------
    ConfigError
        On another form, a threshold outside (0, 1), or a name that is empty, too long or not printable.
    """

    path: Path
    form: str = "auto"
    source: str | None = None
    primary: bool = True
    lenient: bool = False
    threshold: float = 0.5
    replace: bool = False

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(f"a form of labels among {', '.join(FORMS)}", repr(self.form), "choose one of them")
        if not 0 < self.threshold < 1:
            raise ConfigError("a threshold between 0 and 1", f"{self.threshold:g}", "give one such as 0.5")
        if self.source is not None:
            check_name(self.source)


def check_name(source: str) -> None:
    """Check what a source is called.

    Raises
    ------
    ConfigError
        When it is empty, too long or not printable.
    """
    if not source.strip() or len(source) > LONGEST_NAME or not source.isprintable():
        came = "an empty one" if not source.strip() else f"{len(source)} characters, or some that don't print"
        raise ConfigError(f"a source's name of 1 to {LONGEST_NAME} printable characters", came, "give a shorter one")


def check_labels_file(given: LabelsIn) -> str:
    """Read a file's header alone and tell its form, so that a long build does not end at a wrong file.

    Raises
    ------
    SourceError
        When the file can't be read, or has another form.
    """
    forms = {form_of(path, header(path), given.form) for path in files_of(given.path)}
    if len(forms) > 1:
        raise SourceError(f"listfiles of one form in {given.path.name}", ", ".join(sorted(forms)), "give one of them")
    return forms.pop()


def files_of(path: Path) -> list[Path]:
    """Give the label files that a path names: itself, or in a folder the listfiles of train, validation and test.

    Raises
    ------
    SourceError
        When a folder has none.
    """
    if not path.is_dir():
        return [path]
    parts = ("train", "val", "test")
    for names in (
        [f"{part}/listfile.csv" for part in parts],
        [f"{part}_multimodal_listfile.csv" for part in parts],
        [f"{part}_listfile.csv" for part in parts],
        ["listfile.csv"],
    ):
        found = [
            path / f"{name}{packed}" for name in names for packed in ("", ".gz") if (path / f"{name}{packed}").is_file()
        ]
        if found:
            return found
    raise SourceError(f"listfile.csv, or those of train and test, in {path.name}", "none", "name a file of labels")


def with_labels(
    stays: pa.Table, labels: pa.Table, manifest: Mapping[str, Any], given: LabelsIn, keys: pa.Table | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Add a file's labels to a cohort's.

    Parameters
    ----------
    stays, labels
        The cohort's tables.
    manifest
        Its manifest: `labels` and `primary_source` are read.
    given
        The file.
    keys
        The source's own names of stays (`key`) with their numbers (`id`), where those are text.

    Returns
    -------
    labels
        With the file's stated pairs added.
    manifest
        With `label_sources`, `labels_in` and, for a primary source, `primary_source`, `not_recorded` and a line of the
        attrition.

    Raises
    ------
    SourceError
        When the file, a stay, a label or a value is not what it should be.
    ConfigError
        When the cohort has a source of that name, or it can't be told which of several is to be primary.
    """
    form, files, default = check_labels_file(given), files_of(given.path), _default(given)
    parts, set_aside, rows, model = [], Counter[str](), 0, False
    for path in files:
        with Reader(given.lenient) as reader:
            name = str(path.relative_to(given.path)) if given.path.is_dir() else path.name
            load_rows(reader, path, form, stays, manifest["labels"], default, given.threshold, keys, name)
            parts.append(reader.sql.sql(_SAID).to_arrow_table())
            model = model or reader.count("SELECT count(*) FROM said WHERE probable") > 0
            set_aside.update(reader.set_aside)
            rows += reader.count("SELECT count(*) FROM given")
    found = pa.concat_tables(parts)
    _check_once(found, given.path.name)
    names = sorted(set(pc.unique(found["source"]).to_pylist()))
    if not names:
        raise SourceError(f"labels of the cohort's stays in {given.path.name}", "none", "name the file of this cohort")
    for name in names:
        check_name(name)
    primary = _primary(given, names) if given.primary else None
    entries = {
        name: {
            "kind": "model" if model else "labels",
            "title": name.replace("_", " "),
            "file": given.path.name,
            **({"threshold": given.threshold} if model else {}),
        }
        for name in names
    }
    report = {"file": given.path.name, "form": form, "rows": rows, "set_aside": dict(set_aside)}
    return join_sources(stays, labels, manifest, found, entries, report, primary, given.replace)


def _check_once(found: pa.Table, name: str) -> None:
    """Refuse pairs that stand in two files."""
    repeated = found.num_rows - found.group_by(["stay_id", "label", "source"]).aggregate([]).num_rows
    if repeated:
        raise SourceError(f"each stay in one listfile of {name}", f"{repeated} labels twice", "leave one of them out")


def _default(given: LabelsIn) -> str:
    return given.source or ("file" if check_labels_file(given) == "long" else "listfile")


def _primary(given: LabelsIn, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    if given.source in names:
        return str(given.source)
    raise ConfigError(
        f"one source to be corrected among {', '.join(names)}",
        "none named",
        "name it with --source, or leave --primary",
    )


def join_sources(
    stays: pa.Table,
    labels: pa.Table,
    manifest: Mapping[str, Any],
    found: pa.Table,
    entries: Mapping[str, Mapping[str, Any]],
    report: Mapping[str, Any],
    primary: str | None,
    replace: bool = False,
) -> tuple[pa.Table, dict[str, Any]]:
    """Put new sources' rows beside a cohort's labels, and say so in the manifest.

    Parameters
    ----------
    found
        stay_id, label, source, observed, code, hour; each key once. Rows without a value are left out.
    entries
        Of `label_sources`: kind (``codes``, ``labels``, ``note_terms``, ``model``), title and what else there is.
    report
        What was read and set aside; counts are added.
    primary
        The source that a round corrects from now on; None leaves it.

    Raises
    ------
    ConfigError
        When the cohort has a source of one of those names and `replace` is not set.
    """
    there = set(pc.unique(labels["source"]).to_pylist()) & set(entries)
    if there and not replace:
        raise ConfigError(
            f"a source's name that the cohort does not have, beside {', '.join(sorted(there))}",
            "one that is there",
            "give another --source, or --replace",
        )
    kept = labels.filter(pc.invert(pc.is_in(labels["source"], value_set=pa.array(sorted(entries))))).select(
        LABELS.names
    )
    stated = found.filter(pc.is_valid(found["observed"]))
    for field in LABELS:
        if field.name not in stated.column_names:
            stated = stated.append_column(field.name, pa.nulls(stated.num_rows, field.type))
    joined = pa.concat_tables([kept.cast(LABELS), stated.select(LABELS.names).cast(LABELS)])
    known = {str(name): dict(entry) for name, entry in dict(manifest.get("label_sources") or {}).items()}
    known.setdefault(str(manifest["primary_source"]), {"kind": "codes", "title": "billing codes"})
    made = {
        **dict(manifest),
        "label_sources": {**known, **{name: dict(entry) for name, entry in entries.items()}},
        "labels_in": [*list(manifest.get("labels_in") or []), _counted(stays, stated, manifest, entries, report)],
    }
    if primary is not None:
        bare = stays.num_rows - len(pc.unique(stated.filter(pc.equal(stated["source"], primary))["stay_id"]))
        line = f"labels of source {primary} as the record: {bare} stays without any"
        made |= {"primary_source": primary, "not_recorded": bare, "attrition": _noted(manifest, stays.num_rows, line)}
    return joined, made


def _noted(manifest: Mapping[str, Any], stays: int, line: str) -> list[dict[str, Any]]:
    return [*list(manifest.get("attrition") or []), {"criterion": line, "in": stays, "removed": 0, "out": stays}]


def _counted(
    stays: pa.Table,
    stated: pa.Table,
    manifest: Mapping[str, Any],
    entries: Mapping[str, Mapping[str, Any]],
    report: Mapping[str, Any],
) -> dict[str, Any]:
    named = set(pc.unique(stated["label"]).to_pylist())
    return {
        **dict(report),
        "sources": sorted(entries),
        "stated": stated.num_rows,
        "present": int(pc.sum(stated["observed"]).as_py() or 0),
        "stays": len(pc.unique(stated["stay_id"])),
        "stays_without": stays.num_rows - len(pc.unique(stated["stay_id"])),
        "labels_without": [str(entry["key"]) for entry in manifest["labels"] if str(entry["key"]) not in named],
    }
