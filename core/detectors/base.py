"""What a detector is: a pure function of a training's traces that scores every pair, high meaning suspect."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np

from core.traces import Traces

Need = Literal["selection", "out_of_fold"]
Config = TypeVar("Config")


@dataclass(frozen=True)
class Detector(Generic[Config]):
    """One way to tell which records look wrong.

    Parameters
    ----------
    name
        Key in tables and on the command line.
    title
        What it says of a record, in a clinician's words.
    family
        Which evidence it reads: ``miracl``, ``course`` (of the network's predictions), ``peer``, ``patients``,
        ``visits``.
    function
        Traces and options to float32 [stays, labels]: a finite number for every pair, test stays and unstated pairs
        too.
    needs
        Optional fields of the traces without which it can't be had.
    """

    name: str
    title: str
    family: str
    function: Callable[[Traces, Config], np.ndarray]
    needs: frozenset[Need] = field(default=frozenset())

    def available(self, traces: Traces) -> bool:
        """Whether the traces hold all that it needs."""
        return all(getattr(traces, need) is not None for need in self.needs)
