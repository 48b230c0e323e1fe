"""The counts behind the page about a cohort; one that too few patients stand behind is None."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
from scipy.stats import binomtest

from core.cohort.sources.mimic_tables import quoted

SAMPLE = 60
"""Stays in the picture of coverage."""
CONFIDENCE = 0.95
_AGES = (30, 40, 50, 60, 70, 80, 90)
_DAYS = (1, 2, 3, 4, 5, 7, 10, 14, 21)
_SERIES_STEP = 6
_VISITS = (2, 3, 4, 5)
Row = dict[str, Any]


def _class(low: float | None, high: float | None, unit: str) -> str:
    """Name a class by its ends; one whole number by itself."""
    if low is None and high is None:
        return "all"
    if low is None:
        return f"< {high}{unit}" if unit or high != _VISITS[0] else "1"
    if high is None:
        return f"≥ {low}{unit}"
    return f"{low}" if high - low == 1 and not unit else f"{low}–{high}{unit}"


class Counts:
    """The counts of one cohort.

    Parameters
    ----------
    sql
        A connection with views of the cohort's tables.
    manifest
        The cohort's.
    min_cell
        Fewest patients behind a count that is given.
    hours
        Hours of the stay that coverage is counted for.
    """

    def __init__(self, sql: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], min_cell: int, hours: int) -> None:
        self.sql, self.manifest, self.min_cell, self.hours = sql, manifest, min_cell, hours
        self.models = [str(c["name"]) for c in manifest["channels"] if c.get("model")]

    def rows(self, query: str) -> list[Row]:
        """Give the rows of a query of a few counts, by column name."""
        done = self.sql.execute(query)
        names = [column[0] for column in done.description or ()]
        return [dict(zip(names, row, strict=True)) for row in done.fetchall()]

    def all(self) -> dict[str, Any]:
        """Count everything."""
        self.sql.execute(
            "CREATE TEMP TABLE stated AS SELECT l.stay_id, s.patient_id, s.split, l.label, l.observed FROM labels l "
            "JOIN stays s USING (stay_id) WHERE l.observed IS NOT NULL "
            f"AND l.source = {quoted(str(self.manifest['primary_source']))}"
        )
        return {
            "min_cell": self.min_cell,
            "hours": self.hours,
            "whole": self.whole(),
            "attrition": self.attrition(),
            "ages": self.histogram("age", _AGES, "stays WHERE age IS NOT NULL"),
            "sexes": self.sexes(),
            "labels": self.labels(),
            "sources": self.sources(),
            "together": self.together(),
            "channels": self.channels(),
            "hourly": self.hourly(),
            "los": self.histogram("los_hours / 24.0", _DAYS, "stays", " d"),
            "series": self.series(),
            "visits": self.visits(),
            "notes": self.notes(),
            "raster": self.raster(),
        }

    def shown(self, row: Row, value: str = "n") -> int | None:
        """Give a row's count, or None where too few patients stand behind it."""
        return int(row[value]) if row["patients"] >= self.min_cell else None

    def whole(self) -> Row:
        """Stays, patients and what is there of them."""
        return self.rows(
            "SELECT count(*) AS stays, count(DISTINCT patient_id) AS patients, "
            "count(DISTINCT hospital_id) AS hospitals, count(*) FILTER (split = 'train') AS train, "
            "count(*) FILTER (split = 'test') AS test, "
            "count(*) FILTER (has_series) AS series, count(*) FILTER (has_note) AS note, "
            "count(*) FILTER (has_series AND has_note) AS both, median(los_hours) / 24.0 AS los_days, "
            "median(age) AS age, (SELECT count(*) FROM stated) AS pairs, "
            "(SELECT count(DISTINCT stay_id) FROM stated) AS labelled FROM stays"
        )[0]

    def attrition(self) -> list[Row]:
        """Criteria with how many they removed; one that removed too few is told together with the next."""
        merged: list[Row] = []
        for line in self.manifest.get("attrition", ()):
            removed, words = int(line["removed"]), str(line["criterion"])
            if merged and not removed:
                continue
            if merged and 0 < merged[-1]["removed"] < self.min_cell:
                last = merged[-1]
                last["criterion"] += f"; {words}"
                last["removed"], last["out"] = last["removed"] + removed, int(line["out"])
            else:
                merged.append({"criterion": words, "removed": removed, "out": int(line["out"])})
        if len(merged) > 1 and 0 < merged[-1]["removed"] < self.min_cell:
            last = merged.pop()
            merged[-1]["criterion"] += f"; {last['criterion']}"
            merged[-1]["removed"] += last["removed"]
            merged[-1]["out"] = last["out"]
        if len(merged) > 1 and 0 < merged[-1]["removed"] < self.min_cell:
            merged[-1].update(removed=None, out=None)
        return merged

    def histogram(self, value: str, edges: Sequence[float], source: str, unit: str = "") -> list[Row]:
        """Stays by classes of a number, closed on the left: below the first edge, between, from the last on.

        A class of too few patients is told together with its smaller neighbour: left out, it would follow from others.
        """
        bins = " ".join(f"WHEN {value} < {edge!r} THEN {place}" for place, edge in enumerate(edges))
        counts, patients = [0] * (len(edges) + 1), [0] * (len(edges) + 1)
        for row in self.rows(
            f"SELECT CASE {bins} ELSE {len(edges)} END AS place, count(*) AS n, "
            f"count(DISTINCT patient_id) AS patients FROM {source} GROUP BY 1"
        ):
            counts[row["place"]], patients[row["place"]] = int(row["n"]), int(row["patients"])
        left = list(edges)
        while left and (few := next((i for i, p in enumerate(patients) if 0 < p < self.min_cell), None)) is not None:
            near = [i for i in (few - 1, few + 1) if 0 <= i < len(counts)]
            with_ = min(near, key=lambda i: (counts[i], i))
            first = min(few, with_)
            counts[first : first + 2] = [sum(counts[first : first + 2])]
            patients[first : first + 2] = [max(patients[first : first + 2])]
            del left[first]
        ends = [None, *left, None]
        return [
            {"name": _class(low, high, unit), "n": n if p >= self.min_cell or not n else None}
            for low, high, n, p in zip(ends, ends[1:], counts, patients, strict=False)
        ]

    def sexes(self) -> list[Row]:
        """Share of stays by sex: in whole per cent, of which a small rest can't be told back."""
        found = self.rows(
            "SELECT coalesce(sex, 'not stated') AS name, count(*) AS n, count(DISTINCT patient_id) AS patients, "
            "sum(count(*)) OVER () AS stays FROM stays GROUP BY 1 ORDER BY n DESC, name LIMIT 12"
        )
        return [
            {"name": str(row["name"]), "share": None if (n := self.shown(row)) is None else n / int(row["stays"])}
            for row in found
        ]

    def labels(self) -> list[Row]:
        """Each label with its share among training and test stays, and a Wilson interval."""
        found = {
            (row["label"], row["split"]): row
            for row in self.rows(
                "SELECT label, split, count(*) AS stated, sum(observed)::BIGINT AS n, "
                "count(DISTINCT patient_id) FILTER (observed = 1) AS patients, "
                "count(DISTINCT patient_id) FILTER (observed = 0) AS others FROM stated GROUP BY ALL"
            )
        }
        lines = []
        for label in self.manifest["labels"]:
            line: Row = {"name": str(label["name"]), "persistence": str(label["persistence"])}
            for split in ("train", "test"):
                line[split] = self._share(found.get((label["key"], split)))
            lines.append(line)
        return lines

    def _share(self, row: Row | None) -> Row | None:
        if row is None or row["patients"] < self.min_cell or row["others"] < self.min_cell:
            return None
        interval = binomtest(int(row["n"]), int(row["stated"])).proportion_ci(CONFIDENCE, method="wilson")
        share = int(row["n"]) / int(row["stated"])
        return {"n": int(row["n"]), "share": share, "low": float(interval.low), "high": float(interval.high)}

    def sources(self) -> list[Row]:
        """Each source of labels beside the primary one: what it states, and how often both say the same."""
        found = self.rows(
            """SELECT l.source, count(*) AS stated, sum(l.observed)::BIGINT AS n,
                count(DISTINCT s.patient_id) AS patients,
                count(p.observed) AS both, count(*) FILTER (p.observed = l.observed) AS same,
                count(*) FILTER (l.observed = 1 AND p.observed = 0) AS only_here,
                count(DISTINCT s.patient_id) FILTER (l.observed = 1 AND p.observed = 0) AS only_here_patients,
                count(*) FILTER (l.observed = 0 AND p.observed = 1) AS only_primary,
                count(DISTINCT s.patient_id) FILTER (l.observed = 0 AND p.observed = 1) AS only_primary_patients
            FROM labels l JOIN stays s USING (stay_id) LEFT JOIN stated p USING (stay_id, label)
            WHERE l.observed IS NOT NULL GROUP BY l.source ORDER BY l.source"""
        )
        primary = str(self.manifest["primary_source"])
        lines = []
        for row in found:
            shown = row["patients"] >= self.min_cell
            line: Row = {"name": str(row["source"]), "primary": row["source"] == primary}
            line |= {key: int(row[key]) if shown else None for key in ("stated", "n", "both")}
            for key in ("only_here", "only_primary"):
                few = 0 < row[f"{key}_patients"] < self.min_cell
                line[key] = int(row[key]) if shown and not few else None
            told = line["only_here"] is not None and line["only_primary"] is not None and row["both"]
            line["same"] = int(row["same"]) / int(row["both"]) if told else None
            lines.append(line)
        return lines

    def together(self) -> list[list[float | None]]:
        """Lift of each pair of labels, P(a and b) / (P(a) · P(b)) over the stays with stated labels."""
        keys = [str(label["key"]) for label in self.manifest["labels"]]
        self.sql.execute(
            "CREATE TEMP TABLE present AS SELECT stay_id, patient_id, label FROM stated WHERE observed = 1"
        )
        total = int(self.rows("SELECT count(DISTINCT stay_id) AS n FROM stated")[0]["n"])
        alone = {
            row["label"]: int(row["n"]) for row in self.rows("SELECT label, count(*) AS n FROM present GROUP BY 1")
        }
        lifts: list[list[float | None]] = [[None] * len(keys) for _ in keys]
        place = {key: i for i, key in enumerate(keys)}
        for row in self.rows(
            "SELECT a.label AS first, b.label AS second, count(*) AS n, count(DISTINCT a.patient_id) AS patients "
            "FROM present a JOIN present b USING (stay_id) WHERE a.label < b.label GROUP BY ALL"
        ):
            if (n := self.shown(row)) is not None:
                lift = n * total / (alone[row["first"]] * alone[row["second"]])
                i, j = place[row["first"]], place[row["second"]]
                lifts[i][j] = lifts[j][i] = lift
        return lifts

    def channels(self) -> list[Row]:
        """Each channel with the share of stays that have any value before the last hour shown."""
        stays = int(self.rows("SELECT count(*) AS n FROM stays")[0]["n"])
        found = {
            row["channel"]: row
            for row in self.rows(
                "SELECT channel, count(*) AS n, count(DISTINCT patient_id) AS patients, median(k) AS middle FROM ("
                f"SELECT stay_id, channel, count(*) AS k FROM observations WHERE hour >= 0 AND hour < {self.hours} "
                "GROUP BY ALL) JOIN stays USING (stay_id) GROUP BY 1"
            )
        }
        lines = []
        for channel in self.manifest["channels"]:
            row = found.get(channel["name"])
            n = self.shown(row) if row else 0
            if row or channel.get("model"):
                lines.append(
                    {
                        "name": str(channel.get("title") or channel["name"]),
                        "model": bool(channel.get("model")),
                        "share": None if n is None else n / max(stays, 1),
                        "middle": float(row["middle"]) if row and n is not None else None,
                    }
                )
        return lines

    def hourly(self) -> list[Row]:
        """Each model channel with the share of the stays still in the unit that have a value, hour by hour."""
        there = [
            int(row["n"])
            for row in self.rows(
                f"SELECT h, count(*) FILTER (los_hours > h) AS n FROM stays, range({self.hours}) AS r(h) "
                "GROUP BY h ORDER BY h"
            )
        ] or [0] * self.hours
        chosen = ", ".join(quoted(name) for name in self.models) or "''"
        found = {
            (row["channel"], int(row["h"])): row
            for row in self.rows(
                "SELECT channel, h, count(*) AS n, count(DISTINCT patient_id) AS patients FROM ("
                f"SELECT DISTINCT stay_id, channel, floor(hour)::INTEGER AS h "
                f"FROM observations WHERE hour >= 0 AND hour < {self.hours} "
                f"AND channel IN ({chosen})) JOIN stays USING (stay_id) WHERE los_hours > h GROUP BY ALL"
            )
        }
        titles = {str(c["name"]): str(c.get("title") or c["name"]) for c in self.manifest["channels"]}
        none = {"n": 0, "patients": self.min_cell}
        lines = []
        for name in self.models:
            shares: list[float | None] = []
            for hour, stays in enumerate(there):
                n = self.shown(found.get((name, hour), none))
                shares.append(None if n is None or stays < self.min_cell else n / stays)
            lines.append({"name": titles[name], "shares": shares})
        return lines

    def series(self) -> list[Row]:
        """Stays by the length of what a model reads of their series, in hours."""
        chosen = ", ".join(quoted(name) for name in self.models) or "''"
        edges = list(range(_SERIES_STEP, self.hours + 1, _SERIES_STEP)) or [self.hours]
        last = (
            "(SELECT s.stay_id, any_value(s.patient_id) AS patient_id, floor(max(o.hour)) + 1 AS length "
            f"FROM observations o JOIN stays s USING (stay_id) WHERE o.channel IN ({chosen}) AND o.hour >= 0 "
            f"AND o.hour < {self.hours} AND o.hour <= s.los_hours GROUP BY s.stay_id)"
        )
        return self.histogram("length", edges, last, " h")

    def visits(self) -> list[Row]:
        """Patients by their number of stays."""
        each = "(SELECT patient_id, count(*) AS n FROM stays GROUP BY 1)"
        return self.histogram("n", _VISITS, each)

    def notes(self) -> list[Row]:
        """Count notes by category: how many, of how many stays, how long, and how many of them a model reads."""
        found = self.rows(
            """SELECT category AS name, count(*) AS n, count(DISTINCT stay_id) AS stays,
                count(DISTINCT patient_id) AS patients, count(*) FILTER (model_end IS NOT NULL) AS readable,
                quantile_cont(length(text), [0.25, 0.5, 0.75]) AS lengths
            FROM notes JOIN stays USING (stay_id) GROUP BY 1 ORDER BY n DESC, name"""
        )
        return [row if self.shown(row) is not None else {"name": row["name"], "n": None} for row in found]

    def raster(self) -> Row | None:
        """How many model channels were measured in each hour of some stays, drawn by a hash, the fullest first.

        Rows carry no key; None where there are too few patients to draw from.
        """
        drawn = self.rows("SELECT count(DISTINCT patient_id) AS patients FROM stays WHERE has_series")[0]["patients"]
        if drawn < max(self.min_cell, 2):
            return None
        chosen = ", ".join(quoted(name) for name in self.models) or "''"
        found = self.rows(
            "WITH drawn AS (SELECT stay_id, los_hours FROM stays WHERE has_series "
            f"ORDER BY md5(stay_id::VARCHAR) LIMIT {SAMPLE}), "
            "cells AS (SELECT stay_id, floor(hour)::INTEGER AS h, count(DISTINCT channel) AS k FROM observations "
            f"WHERE stay_id IN (SELECT stay_id FROM drawn) AND channel IN ({chosen}) AND hour >= 0 "
            f"AND hour < {self.hours} GROUP BY ALL) "
            "SELECT any_value(los_hours) AS los, list(h) FILTER (h IS NOT NULL) AS hours, "
            "list(k) FILTER (h IS NOT NULL) AS counts FROM drawn LEFT JOIN cells USING (stay_id) "
            "GROUP BY stay_id ORDER BY sum(k) DESC NULLS LAST, los DESC"
        )
        lines = [
            {"los": float(row["los"]), "cells": dict(zip(row["hours"] or (), row["counts"] or (), strict=True))}
            for row in found
        ]
        return {"lines": lines, "channels": len(self.models)}
