"""Methods by name, their options, and what a preset changes."""

import dataclasses
import importlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import CALIBRATED, COMPARISONS, JUDGING, PRESETS, SIZES, TrainConfig, make_config
from core.errors import ConfigError
from core.fit import fit
from core.locks import lay_on_pairs
from core.methods.base import Method, Setting
from core.methods.options import REGULARISED, MethodConfig
from core.methods.registry import METHODS, WEIGHING, make_method
from core.methods.sources import LabelSources
from core.schedules import weight_decay

from .tiny_cohort import learnable_cohort

OWN = {  # one option of each family, and another value for it
    "auxiliary": True,
    "focal.gamma": 1.5,
    "asl.margin": 0.1,
    "gce.q": 0.5,
    "mllsc.pos_rule": "quantile",
    "multit.sample_epoch": 7,
    "linc.warm_up": 4,
    "medfuse.dropout": 0.2,
    "m3care.dropout": 0.3,
    "dfd.dropout": 0.4,
    "attention_on_label.weight_scope": "stay_label",
    "consensus.ties": "half",
}


def options(config: TrainConfig) -> dict[str, object]:
    """Every option by its dotted name."""
    found: dict[str, object] = {}

    def walk(part: dict[str, Any], path: str) -> None:
        for name, value in part.items():
            if isinstance(value, dict):
                walk(value, f"{path}{name}.")
            else:
                found[path + name] = value

    walk(config.to_dict(), "")
    return found


def changed(one: TrainConfig, other: TrainConfig) -> dict[str, object]:
    """What `one` has otherwise than `other`."""
    before = options(other)
    return {name: value for name, value in options(one).items() if value != before[name]}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    folder = tmp_path_factory.mktemp("registry")
    return pack_cohort(learnable_cohort(folder / "cohort"), make_config().tensors, folder / "cache")


def setting(packed: PackedCohort, config: TrainConfig) -> Setting:
    three = np.stack([packed.observed.astype(np.float32)] * 3)
    stated = np.stack([packed.stated] * 3)
    sources = LabelSources(three, stated, ("codes", "notes", "reader"))
    return Setting(config, packed, lay_on_pairs(packed, None), torch.device("cpu"), 1, sources)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_name_resolves_to_a_method_that_can_be_made(name: str, packed: PackedCohort) -> None:
    module, kind = METHODS[name].split(":")
    found = getattr(importlib.import_module(module), kind)
    assert issubclass(found, Method)
    assert found.__module__ == module
    assert found.__doc__
    config = make_config("miracl", "compact", **{"method.name": name, "model.hidden": 8, "model.ffn": 8})
    method = make_method(setting(packed, config))
    assert type(method) is found
    assert method.corrected.shape == packed.observed.shape
    assert isinstance(method.state(), dict)


def test_no_two_names_share_a_class() -> None:
    assert len(set(METHODS.values())) == len(METHODS)
    assert set(WEIGHING) <= set(METHODS)


def test_a_name_that_is_no_method_is_refused_in_one_line(packed: PackedCohort) -> None:
    with pytest.raises(ConfigError, match=r"method\.name") as caught:
        make_method(setting(packed, make_config(**{"method.name": "oracle"})))
    assert "\n" not in str(caught.value)


def test_every_preset_names_a_method_and_every_method_has_a_preset() -> None:
    named = {preset: make_config(preset).method.name for preset in PRESETS}
    assert set(named.values()) == set(METHODS)
    assert {named[preset] for preset in ("released", "paper", "miracl")} == {"miracl"}
    assert {preset for preset in COMPARISONS if named[preset] != preset} == {"bce_regularised"}
    assert len(set(PRESETS)) == len(PRESETS)
    assert set(PRESETS) == set(JUDGING) | set(COMPARISONS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_builds_and_comes_back_from_json(preset: str, size: str) -> None:
    config = make_config(preset, size)
    assert (config.preset, config.size) == (preset, size)
    assert TrainConfig.from_json(config.to_json()) == config
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))).to_json() == config.to_json()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", COMPARISONS)
def test_a_comparison_changes_its_name_and_what_it_documents(preset: str, size: str) -> None:
    documented = {"bce_regularised": {"method.name": "bce", **REGULARISED}}.get(preset, {"method.name": preset})
    assert changed(make_config(preset, size), make_config("miracl", size)) == {"preset": preset, **documented}


@pytest.mark.parametrize("size", SIZES)
def test_the_calibrated_preset_changes_what_it_documents(size: str) -> None:
    config, plain = make_config("calibrated", size), make_config("miracl", size)
    assert set(changed(config, plain)) <= {"preset"} | set(CALIBRATED)
    of_config = options(config)
    assert {name: of_config[name] for name in CALIBRATED} == CALIBRATED


def test_an_option_given_by_hand_stands_above_the_preset_s() -> None:
    config = make_config("bce_regularised", **{"model.dropout": 0.3, "method.name": "focal"})
    assert (config.model.dropout, config.method.name, config.optim.decay_from) == (0.3, "focal", "first")


@pytest.mark.parametrize("name", OWN)
def test_an_option_of_a_method_is_kept_through_json(name: str) -> None:
    config = make_config(**{f"method.{name}": OWN[name]})  # type: ignore[arg-type]
    assert changed(config, make_config()) == {f"method.{name}": OWN[name]}
    assert TrainConfig.from_json(config.to_json()) == config


def test_every_option_of_every_method_names_its_source_and_stands_in_its_docstring() -> None:
    families = [MethodConfig()]
    while families:
        part = families.pop()
        for item in dataclasses.fields(part):
            assert item.name in (type(part).__doc__ or ""), f"{type(part).__name__}.{item.name}"
            value = getattr(part, item.name)
            if dataclasses.is_dataclass(value):
                families.append(value)  # type: ignore[arg-type]
            else:
                assert item.metadata["source"], f"{type(part).__name__}.{item.name}"
    assert {name.split(".")[0] for name in OWN} == {item.name for item in dataclasses.fields(MethodConfig)} - {"name"}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("method.name", 3),
        ("method.focal", 2),
        ("method.focal.alpha", 1.5),
        ("method.gce.nothing", 1),
        ("method.consensus.ties", "last"),
        ("method.mllsc.pos_rule", "p"),
        ("method.linc.warm_up", 0.5),
        ("peer.folds", 1),
        ("peer.penalties", []),
        ("calibrated.network_weight", 2.0),
        ("calibrated.siblings", "all"),
    ],
)
def test_a_bad_option_of_a_method_is_refused_in_one_line(name: str, bad: object) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(**{name: bad})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_weight_decay_begins_after_the_warm_up_or_with_the_first_epoch() -> None:
    epochs = (1, 2, 5, 6, 30)
    assert [weight_decay(t, 5, 3e-5, "correction") for t in epochs] == [0, 0, 0, 3e-5, 3e-5]
    assert [weight_decay(t, 5, 3e-5, "first") for t in epochs] == [3e-5] * 5
    assert [weight_decay(t, 5, 0.0, "first") for t in epochs] == [0] * 5


@pytest.mark.parametrize("preset", ["bce", "bce_regularised"])
def test_the_optimiser_is_given_the_epoch_s_weight_decay(
    preset: str, packed: PackedCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(
        preset, "compact", **{"model.hidden": 8, "model.ffn": 8, "optim.epochs": 3, "optim.warm_up": 2}
    )
    seen: list[float] = []
    step = Method.step

    def spy(self: Method, model: Any, optimiser: Any, batch: Any) -> Any:
        seen.extend(group["weight_decay"] for group in optimiser.param_groups)
        return step(self, model, optimiser, batch)

    monkeypatch.setattr(Method, "step", spy)
    few = replace(packed, is_test=np.arange(len(packed.is_test)) % 4 > 0)
    assert fit(few, lay_on_pairs(few, None), config, seed=1, place=torch.device("cpu")) is not None
    value = config.optim.weight_decay
    assert seen == ([value] * 3 if preset == "bce_regularised" else [0.0, 0.0, value])
