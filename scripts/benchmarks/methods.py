"""What the tables compare: each method's name, title, version, and what it takes.

A version is raised by hand when the method's results change; runs of another version are not finished ones.
"""

from dataclasses import dataclass
from typing import Any, Literal

from core.config import CALIBRATED
from core.errors import ConfigError

COURSE = tuple((name, value) for name, value in CALIBRATED.items() if name.startswith("optim."))
"""The optimiser, schedule and decay of the default preset, which the methods' own papers do not have."""

ALIKE = (("optim.batch", "auto"),)
"""The paper's text trains on 128 stays a batch; on cohorts of a few thousand that is half the steps of the others."""


@dataclass(frozen=True)
class Compared:
    """A row of the tables.

    Parameters
    ----------
    title
        As the tables spell it.
    version
        Of its results.
    kind
        A ``network`` trained through `core.fit`, or the ``regression`` on hand-made features.
    preset, options
        What `make_config` takes where it is not the method's name alone.
    """

    title: str
    version: str = "1"
    kind: Literal["network", "regression"] = "network"
    preset: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def on_course(self) -> bool:
        """Whether the default's optimiser trains it, which its own paper does not ask for."""
        return set(COURSE) <= set(self.options)


def _on_course(preset: str, title: str, version: str = "1") -> Compared:
    """A method trained by the default's optimiser and steps: what is left between the two is not the course's."""
    return Compared(f"{title}, the default's course", version, preset=preset, options=COURSE + ALIKE)


METHODS: dict[str, Compared] = {
    "bce": Compared("BCE (FlexCare backbone)"),
    "bce_regularised": Compared("BCE, regularised"),
    "bce_course": _on_course("bce", "BCE"),
    "focal": Compared("Focal"),
    "focal_course": _on_course("focal", "Focal"),
    "asl": Compared("ASL"),
    "asl_course": _on_course("asl", "ASL"),
    "gce": Compared("GCE"),
    "gce_course": _on_course("gce", "GCE"),
    "mllsc": Compared("MLLSC"),
    "mllsc_course": _on_course("mllsc", "MLLSC"),
    "multit": Compared("MultiT"),
    "multit_course": _on_course("multit", "MultiT"),
    "medfuse": Compared("MedFuse"),
    "medfuse_course": _on_course("medfuse", "MedFuse"),
    "m3care": Compared("M3Care"),
    "m3care_course": _on_course("m3care", "M3Care"),
    "linc": Compared("LiNC", "2"),
    "linc_course": _on_course("linc", "LiNC", "2"),
    "dfd": Compared("DFD", "2"),
    "dfd_course": _on_course("dfd", "DFD", "2"),
    "released": Compared("MIRACL, released code"),
    "paper": Compared("MIRACL, paper's text"),
    "paper_batch": Compared("MIRACL, paper's text, batch of the others", preset="paper", options=ALIKE),
    "paper_course": _on_course("paper", "MIRACL, paper's text"),
    "miracl": Compared("MIRACL, class-oriented", "2"),
    "miracl_course": _on_course("miracl", "MIRACL, class-oriented", "2"),
    "calibrated": Compared("MIRACL Audit, calibrated"),
    "regression": Compared("logistic regression", kind="regression"),
}
"""Methods by name, in the order of the tables. Those that need several label sources have a table of their own."""

DETECTING = ("bce", "bce_course", "linc", "paper", "miracl", "calibrated")
"""Methods whose networks the table of detectors reads."""


def compared(name: str) -> Compared:
    """Look a method up.

    Raises
    ------
    ConfigError
        On an unknown name.
    """
    if name not in METHODS:
        raise ConfigError(f"methods among {', '.join(METHODS)}", repr(name), "leave it out or spell it so")
    return METHODS[name]
