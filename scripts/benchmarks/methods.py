"""What the tables compare: each method's name, title, version, and what it takes.

A version is raised by hand when the method's results change; runs of another version are not finished ones.
"""

from dataclasses import dataclass
from typing import Literal

from core.errors import ConfigError


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
    """

    title: str
    version: str = "1"
    kind: Literal["network", "regression"] = "network"


METHODS: dict[str, Compared] = {
    "bce": Compared("BCE (FlexCare backbone)"),
    "bce_regularised": Compared("BCE, regularised"),
    "focal": Compared("Focal"),
    "asl": Compared("ASL"),
    "gce": Compared("GCE"),
    "mllsc": Compared("MLLSC"),
    "multit": Compared("MultiT"),
    "medfuse": Compared("MedFuse"),
    "m3care": Compared("M3Care"),
    "linc": Compared("LiNC", "2"),
    "dfd": Compared("DFD", "2"),
    "released": Compared("MIRACL, released code"),
    "paper": Compared("MIRACL, paper's text"),
    "miracl": Compared("MIRACL, class-oriented", "2"),
    "calibrated": Compared("MIRACL Audit, calibrated"),
    "regression": Compared("logistic regression", kind="regression"),
}
"""Methods by name, in the order of the tables. Those that need several label sources have a table of their own."""

DETECTING = ("bce", "linc", "paper", "miracl", "calibrated")
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
