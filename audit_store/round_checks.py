"""What must hold in a round's tables before they are kept: each rule counts the rows that break it."""

from dataclasses import dataclass

import duckdb

from audit_store.errors import RoundError
from audit_store.schema import DIRECTIONS, PARTITIONS, PERSISTENCES, SPLITS


@dataclass(frozen=True)
class Check:
    """A rule over the tables: `count` gives the number of rows that break it."""

    count: str
    expected: str
    came: str
    todo: str = "mend the trainer's output"


def _names(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _outside(table: str, column: str, values: tuple[str, ...]) -> Check:
    return Check(
        f"SELECT count(*) FROM {table} WHERE {column} NOT IN ({_names(values)})",
        f"{table}.{column} in {{{', '.join(values)}}}",
        "{n} rows with another value",
    )


def _unit(column: str) -> Check:
    return Check(
        f"SELECT count(*) FROM pair WHERE {column} NOT BETWEEN 0 AND 1",
        f"pair.{column} between 0 and 1",
        "{n} rows outside",
    )


def _unique(table: str, keys: str) -> Check:
    return Check(
        f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {table} GROUP BY {keys} HAVING n > 1)",
        f"one row per ({keys}) in {table}",
        "{n} rows too many",
        "remove the repeated rows",
    )


def _known_label(table: str) -> Check:
    return Check(
        f"SELECT count(*) FROM {table} ANTI JOIN label USING (label_id)",
        f"{table}.label_id among the labels",
        "{n} rows of other labels",
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "SELECT (SELECT count(*) FROM label) - (SELECT count(DISTINCT label_id) FROM label "
        "WHERE label_id BETWEEN 0 AND (SELECT count(*) FROM label) - 1)",
        "label.label_id counting from 0 without gaps",
        "{n} labels out of place",
    ),
    _unique("label", "label_key"),
    _outside("label", "persistence", PERSISTENCES),
    Check("SELECT CAST(count(*) = 0 AS INT) FROM pair", "a round with pairs", "an empty table"),
    _known_label("pair"),
    Check(
        "SELECT count(*) FROM pair WHERE observed NOT IN (0, 1)",
        "pair.observed in {0, 1}",
        "{n} rows with another value",
    ),
    Check(
        "SELECT count(*) FROM pair WHERE suggested NOT IN (0, 1)",
        "pair.suggested in {0, 1}",
        "{n} rows with another value",
    ),
    _outside("pair", "partition", PARTITIONS),
    _outside("pair", "split", SPLITS),
    _outside("pair", "direction", DIRECTIONS),
    *[_unit(column) for column in ("given", "probability", "selection_score", "corrected", "error_probability")],
    *[_unit(column) for column in ("probability_series", "probability_note", "probability_peer")],
    _unique("pair", "stay_id, label_id"),
    Check(
        "SELECT count(*) FROM (SELECT 1 FROM pair GROUP BY stay_id HAVING min(patient_id) <> max(patient_id) "
        "OR min(visit) <> max(visit) OR min(split) <> max(split))",
        "one patient, visit and split per stay in pair",
        "{n} stays with several",
        "check the trainer's alignment",
    ),
    Check(
        "SELECT count(*) FROM (SELECT 1 FROM pair GROUP BY patient_id HAVING min(split) <> max(split))",
        "each patient in one split",
        "{n} patients in both train and test",
        "split by patient",
    ),
    Check(
        "SELECT count(*) FROM pair WHERE (direction = 'false_positive') <> (observed = 1)",
        "pair.direction false_positive exactly where observed is 1",
        "{n} rows otherwise",
    ),
    Check(
        "SELECT count(*) FROM pair WHERE suggested <> CAST(corrected >= 0.5 AS UTINYINT)",
        "pair.suggested = (corrected ≥ 0.5)",
        "{n} rows otherwise",
    ),
    Check(
        "SELECT count(*) FROM pair WHERE flagged AND (split <> 'train' OR partition = 'locked')",
        "flags on train pairs that are not locked",
        "{n} others flagged",
    ),
    Check(
        "SELECT count(*) FROM pair WHERE flagged <> (suspicion_rank IS NOT NULL)",
        "a suspicion_rank exactly where a pair is flagged",
        "{n} rows otherwise",
    ),
    Check(
        "SELECT count(*) FILTER (suspicion_rank NOT BETWEEN 1 AND n OR twice > 1) FROM (SELECT suspicion_rank, "
        "count(*) OVER () AS n, count(*) OVER (PARTITION BY suspicion_rank) AS twice FROM pair WHERE flagged)",
        "suspicion ranks 1 to N, each once",
        "{n} flags with another rank",
    ),
    Check(
        "SELECT count(*) FROM pair WHERE octet_length(history) <> (SELECT count(*) FROM epoch)",
        "pair.history with one byte per epoch",
        "{n} rows of another length",
    ),
    _known_label("mixture"),
    _unique("mixture", "label_id, observed_class"),
    _unique("epoch", "epoch"),
    Check(
        "SELECT count(*) FROM evidence ANTI JOIN pair USING (stay_id, label_id)",
        "evidence for pairs of the round",
        "{n} rows of other pairs",
    ),
    _outside("evidence", "kind", ("note", "series")),
    Check(
        "SELECT count(*) FROM evidence WHERE kind = 'note' AND (note_id IS NULL OR char_start IS NULL "
        "OR char_end IS NULL OR char_start < 0 OR char_end < char_start)",
        "evidence from notes with a note and 0 ≤ char_start ≤ char_end",
        "{n} rows otherwise",
    ),
    _unique("detector_wide", "stay_id, label_id"),
    Check(
        "SELECT count(*) FROM detector_wide WHERE observed IS NULL",
        "detector scores of pairs of the round",
        "{n} rows of other pairs",
    ),
)

_NEGATIVE_HARM = " OR ".join(
    f"{column} < -1e-6"
    for column in ("pairs", "expected_better", "expected_worse", "expected_error_before", "expected_error_after")
)

OPTIONAL_CHECKS: dict[str, tuple[Check, ...]] = {
    "harm": (
        _known_label("harm"),
        _outside("harm", "direction", DIRECTIONS),
        _unique("harm", "label_id, direction"),
        Check(
            f"SELECT count(*) FROM harm WHERE changed NOT BETWEEN 0 AND pairs OR {_NEGATIVE_HARM}",
            "harm in numbers of labels, changed among pairs",
            "{n} rows otherwise",
        ),
    ),
    "comparison": (
        _unique("comparison", "metric"),
        Check(
            "SELECT count(*) FROM comparison WHERE low > high OR n_patients < 0",
            "comparison.low at most high, patients counted",
            "{n} rows otherwise",
        ),
        Check(
            "SELECT count(*) FROM comparison WHERE abs(with_decisions - without_decisions - difference) > 1e-6",
            "comparison.difference = with_decisions - without_decisions",
            "{n} rows otherwise",
        ),
    ),
}


def hold(connection: duckdb.DuckDBPyConnection, checks: tuple[Check, ...]) -> None:
    """Apply rules to the tables of a round being written.

    Raises
    ------
    RoundError
        For the first rule that some row breaks.
    """
    for check in checks:
        broken = connection.execute(check.count).fetchall()[0][0]
        if broken:
            raise RoundError(check.expected, check.came.format(n=broken), check.todo)
