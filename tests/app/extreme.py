"""Patients at the edge of what a page must bear: very long, very many, nothing at all, and names full of markup."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

from core.cohort.channels import manifest_channels
from core.cohort.store import is_test_patient
from tests.app import invented
from tests.app.invented import MARKUP, Invented, make_workspace

WORDS = "Patient resting. Sepsis was considered, cultures drawn, no septic shock seen. Father had sepsis. "
LONG = (WORDS * 3000)[:200_000]
MODEL = tuple(entry["name"] for entry in manifest_channels() if entry["model"])
CHARTED = {
    "heart_rate", "map", "resp_rate", "spo2", "temperature", "wbc", "creatinine", "glucose", "platelets", "lactate"
}  # fmt: skip


def _key(name: str) -> str:
    """A key whose patient is trained on: a round flags no others."""
    return next(key for n in range(99) if not is_test_patient(key := f"{name}-{n}"))


def _patient(name: str, days: list[float], **more: Any) -> dict[str, Any]:
    recorded: list[set[str]] = [{"shock"} if v % 3 else set() for v in range(len(days))]
    return {"key": _key(name), "days": days, "sex": "F", "age": 60, "recorded": recorded, "true": recorded, **more}


PATIENTS = [
    _patient("x-long-note", [3.0]),
    _patient("x-no-note", [2.0]),
    _patient("x-no-series", [2.0]),
    _patient("x-neither", [2.0]),
    _patient("x-short-visits", [0.2, 5.0, 0.3, 0.2, 4.0]),
    _patient("x-twenty-days", [20.0], more=[name for name in MODEL if name not in CHARTED]),
    _patient("x-forty-visits", [0.3 + (v % 5) for v in range(40)]),
]
TEXTS = {
    (_key("x-long-note"), 0): [("Nursing", 4.0, LONG)],
    (_key("x-no-series"), 0): [("Progress note", 4.0, f"Septic shock. {MARKUP}")],
    (_key("x-short-visits"), 1): [("Progress note", 4.0, "No sign of sepsis.")],
    (_key("x-twenty-days"), 0): [("Progress note", 100.0, "Sepsis, third week.")],
    **{(_key("x-forty-visits"), v): [("Nursing", 1.0, f"Visit {v + 1}. Sepsis possible.")] for v in range(40)},
}
FLAGS = [
    (_key("x-long-note"), 0, "septicemia", 0.99),
    (_key("x-forty-visits"), 20, "septicemia", 0.98),
    (_key("x-short-visits"), 1, "septicemia", 0.97),
    (_key("x-neither"), 0, "septicemia", 0.96),
    (_key("x-no-note"), 0, "septicemia", 0.95),
    (_key("x-no-series"), 0, "septicemia", 0.94),
    (_key("x-twenty-days"), 0, "septicemia", 0.93),
]


def make_extreme(folder: Path) -> Invented:
    """A workspace whose queue starts with these patients."""
    with (
        patch.object(invented, "PATIENTS", [*invented.PATIENTS, *PATIENTS]),
        patch.object(invented, "TEXTS", {**invented.TEXTS, **TEXTS}),
        patch.object(invented, "NO_SERIES", {"p-bare", _key("x-no-series"), _key("x-neither")}),
    ):
        real = invented.write_invented_cohort
        with patch.object(invented, "write_invented_cohort", lambda where: real(where, len(invented.PATIENTS))):
            return make_workspace(folder, FLAGS)
