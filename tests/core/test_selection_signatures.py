"""Selection and correction can't be given the truth: no parameter is for it, and nothing that holds it is imported."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import numpy as np
import pytest
from beartype import beartype

import core.correction
import core.selection
from core.correction.cooccurrence import FilterConfig
from core.correction.relabel import CorrectionConfig
from core.selection.difficulty import SelectionConfig
from core.selection.dynamics import LearningDynamics
from core.selection.mixture import MixtureConfig

FORBIDDEN = {"clean", "true", "truth", "flipped", "flip", "flips", "gold", "oracle", "real", "actual"}
COMPONENT = {"mean_clean", "sd_clean", "weight_clean"}
"""Fields of the fitted mixtures: their "clean" is the lower component, not a label."""
ROOMS = (core.selection, core.correction)
HOLD_THE_TRUTH = ("core.metrics", "core.noise", "core.cohort")


def modules() -> list[ModuleType]:
    return [
        importlib.import_module(found.name)
        for room in ROOMS
        for found in pkgutil.iter_modules(room.__path__, room.__name__ + ".")
    ]


def signatures(module: ModuleType) -> Iterator[tuple[str, inspect.Signature]]:
    for name, thing in vars(module).items():
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing):
            for method, function in inspect.getmembers(thing, inspect.isroutine):
                if method == "__init__" or not method.startswith("__"):
                    yield f"{name}.{method}", inspect.signature(function)
        elif inspect.isfunction(thing):
            yield name, inspect.signature(thing)


def for_the_truth(signature: inspect.Signature) -> list[str]:
    return [p for p in signature.parameters if p not in COMPONENT and FORBIDDEN & set(p.lower().split("_"))]


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.__name__)
def test_no_parameter_of_selection_or_correction_is_for_true_labels(module):
    for name, signature in signatures(module):
        assert not for_the_truth(signature), f"{module.__name__}.{name}"
        kinds = {p.kind for p in signature.parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds, f"{module.__name__}.{name} takes anything"


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.__name__)
def test_selection_and_correction_import_nothing_that_holds_true_labels(module):
    tree = ast.parse(Path(module.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in names if name.startswith(HOLD_THE_TRUTH)]


def test_the_rooms_are_found_and_a_signature_with_the_truth_would_be_seen():
    assert {m.__name__.rsplit(".", 1)[-1] for m in modules()} >= {
        "dynamics", "difficulty", "groups", "mixture", "partition", "cooccurrence", "relabel",
    }  # fmt: skip

    def leaky(observed, clean_labels): ...

    assert for_the_truth(inspect.signature(leaky)) == ["clean_labels"]
    assert sum(1 for m in modules() for _ in signatures(m)) > 25


def checked_rooms(monkeypatch) -> dict[str, ModuleType]:
    """Put every public function of the two rooms behind a check of its shapes and types, calls among them included."""
    rooms = modules()
    for home in rooms:
        for name, thing in list(vars(home).items()):
            if inspect.isfunction(thing) and thing.__module__ == home.__name__ and not name.startswith("_"):
                guarded = jaxtyping.jaxtyped(typechecker=beartype)(thing)
                for module in rooms:
                    if vars(module).get(name) is thing:
                        monkeypatch.setattr(module, name, guarded)
    return {module.__name__.rsplit(".", 1)[-1]: module for module in rooms}


@pytest.mark.parametrize("preset", ["released", "paper", "miracl"])
@pytest.mark.parametrize("source", ["means", "posterior"])
def test_the_shapes_that_signatures_state_hold_through_a_whole_epoch(monkeypatch, preset, source):
    room = checked_rooms(monkeypatch)
    rng = np.random.default_rng(0)
    observed = (rng.random((80, 4)) < 0.4).astype(np.uint8)
    member, here = rng.random((80, 4)) < 0.9, rng.random(80) < 0.7
    config, relabel = SelectionConfig.preset(preset), CorrectionConfig.preset(preset)
    dynamics = LearningDynamics((80, 4), config.dynamics_lag)
    for _ in range(3):
        p = rng.random((80, 4), dtype=np.float32)
        dynamics.update(
            room["dynamics"].correct_predictions(p, observed, room["dynamics"].label_prevalence(observed, member))
        )
    C = room["cooccurrence"].cooccurrence(observed, member)
    eligible = room["cooccurrence"].negative_filter(observed, member, member, C, FilterConfig())
    found = room["partition"].select(
        p, observed, member, dynamics, config, MixtureConfig.preset(preset),
        locked=~member, eligible=eligible, fit_on_eligible=True, uncertainty_source=source,
    )  # fmt: skip
    predicted = room["relabel"].predicted_labels(p, p, p, here, ~here, relabel)
    base = observed.astype(np.float32)
    corrected = room["relabel"].corrected_labels(
        base, predicted, found.uncertainty, observed, eligible, member, config=relabel
    )
    assert corrected.shape == observed.shape
    with pytest.raises(jaxtyping.TypeCheckError):
        room["relabel"].corrected_labels(
            base, predicted[:, :3], found.uncertainty, observed, eligible, member, config=relabel
        )
