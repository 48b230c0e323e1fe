"""All detectors by name, and the one door through which they are asked."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from core.detectors import confident, gradients, losses, maps, margins, miracl, neighbours, visits
from core.detectors.base import Detector, Need
from core.detectors.confident import ConfidentConfig
from core.detectors.course import CourseConfig
from core.detectors.losses import CnlcuConfig
from core.detectors.margins import AccumulatorConfig
from core.detectors.neighbours import NeighbourConfig
from core.detectors.visits import VisitConfig
from core.errors import ConfigError, RunError
from core.traces import Traces


@dataclass(frozen=True)
class DetectorConfig:
    """Options of all detectors, by family."""

    course: CourseConfig = field(default_factory=CourseConfig)
    linc: AccumulatorConfig = field(default_factory=AccumulatorConfig)
    cnlcu: CnlcuConfig = field(default_factory=CnlcuConfig)
    confident: ConfidentConfig = field(default_factory=ConfidentConfig)
    neighbours: NeighbourConfig = field(default_factory=NeighbourConfig)
    visits: VisitConfig = field(default_factory=VisitConfig)


Registered = Detector[DetectorConfig]


def _by_name(*detectors: Registered) -> dict[str, Registered]:
    return {detector.name: detector for detector in detectors}


_SELECTION: frozenset[Need] = frozenset({"selection"})
_PEER: frozenset[Need] = frozenset({"out_of_fold"})

DETECTORS: dict[str, Registered] = _by_name(
    Detector("miracl_score", "Ranked oddly for this patient and hard to learn (MIRACL)", "miracl",
             lambda t, c: miracl.miracl_score(t), _SELECTION),
    Detector("rank", "Its place among this patient's diagnoses does not fit the record", "miracl",
             lambda t, c: miracl.oriented_rank(t), _SELECTION),
    Detector("difficulty", "The model long got this record wrong", "miracl",
             lambda t, c: miracl.difficulty(t), _SELECTION),
    Detector("loss", "Improbable to the model while it was learning", "course",
             lambda t, c: losses.mean_loss(t, c.course)),
    Detector("loss_last", "Improbable to the model at the end", "course",
             lambda t, c: losses.last_loss(t)),
    Detector("cnlcu_s", "Improbable to the model, single outbursts discounted (CNLCU-S)", "course",
             lambda t, c: losses.cnlcu_soft(t, c.course, c.cnlcu)),
    Detector("aum", "The model leant away from the record (area under the margin)", "course",
             lambda t, c: margins.area_under_margin(t, c.course)),
    Detector("linc", "The model lost trust in the record while learning (LiNC)", "course",
             lambda t, c: margins.linc(t, c.linc)),
    Detector("mild", "More epochs predicted otherwise than as recorded (MILD)", "course",
             lambda t, c: margins.mild(t)),
    Detector("el2n", "Far from the model's early prediction (EL2N)", "course",
             lambda t, c: gradients.el2n(t, c.course)),
    Detector("grand", "Pulled hard at the model while it was learning (GraNd)", "course",
             lambda t, c: gradients.grand_last_layer(t, c.course)),
    Detector("data_maps", "The model had little confidence in the record (DataMaps)", "course",
             lambda t, c: maps.confidence(t, c.course)),
    Detector("data_iq", "The model was sure of the opposite (Data-IQ)", "course",
             lambda t, c: maps.data_iq(t, c.course)),
    Detector("confident_learning", "A second model that never saw this patient says otherwise (confident learning)",
             "peer", lambda t, c: confident.confident_learning(t, c.confident), _PEER),
    Detector("neighbours", "Similar patients are recorded otherwise", "patients",
             lambda t, c: neighbours.neighbours(t, c.neighbours)),
    Detector("visits", "This patient's other visits are recorded otherwise (lifelong conditions)", "visits",
             lambda t, c: visits.visits(t, c.visits)),
)  # fmt: skip
"""Detectors, in the order of tables: high means suspect."""

PARTS: dict[str, Registered] = _by_name(
    Detector("data_maps_variability", "The model changed its mind about the record", "course",
             lambda t, c: maps.variability(t, c.course)),
    Detector("data_iq_aleatoric", "Ambiguous to the model", "course",
             lambda t, c: maps.aleatoric(t, c.course)),
)  # fmt: skip
"""What DataMaps and Data-IQ measure beside: for figures, not noise scores, so no part of a round."""


def available(traces: Traces) -> tuple[str, ...]:
    """Names of the detectors that these traces suffice for, in the registry's order."""
    return tuple(name for name, detector in DETECTORS.items() if detector.available(traces))


def scores(
    traces: Traces, names: Iterable[str] | None = None, config: DetectorConfig = DetectorConfig()
) -> dict[str, np.ndarray]:
    """Score every pair by each detector.

    Parameters
    ----------
    traces
        What training left behind.
    names
        Detectors or `PARTS` by name; None for all that are available.
    config
        Options.

    Returns
    -------
    dict
        Name to float32 [stays, labels], high means suspect, on the detector's own scale (`standardised` puts scores on
        one).

    Raises
    ------
    ConfigError
        If a name is unknown, or the traces lack what a detector needs.
    RunError
        If a score is not a finite number.
    """
    known = DETECTORS | PARTS
    chosen = available(traces) if names is None else tuple(names)
    for name in chosen:
        if name not in known:
            raise ConfigError(f"detectors among {', '.join(known)}", repr(name)[:60], "choose some of them")
        if not known[name].available(traces):
            needs = ", ".join(sorted(known[name].needs))
            raise ConfigError(f"traces with {needs} for the detector {name}", "none", "leave that detector out")
    found = {}
    for name in chosen:
        score = known[name].function(traces, config)
        if not np.isfinite(score).all():
            raise RunError(f"finite scores of {name}", "NaN or infinity", "lower the learning rate")
        found[name] = score
    return found
