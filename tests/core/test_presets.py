"""What the config and its presets promise."""

import dataclasses

import pytest

from core.config import (
    PRESETS,
    SIZES,
    LossConfig,
    ModelConfig,
    OptimConfig,
    ReviewConfig,
    TrainConfig,
    make_config,
)
from core.errors import ConfigError

# Rows of table A.11 that are options, and where each stands. Rows 27 and 37 belong to noise injection.
OPTIONS = {
    1: "selection.alpha",
    2: "selection.variant",
    3: "selection.rank_mode",
    4: "selection.scale",
    6: "correction.target_mix",
    7: "optim.record",
    8: "selection.dynamics_lag",
    11: "correction.cumulative",
    13: "filter.place",
    16: "filter.kind",
    19: "mixture.gate",
    21: "correction.uncertainty_source",
    22: "loss.heads",
    24: "optim.beta_origin",
    25: "optim.scheduler",
    29: "loss.temperature",
    31: "optim.sampler",
    32: "model.attention_mask",
    33: "model.packed",
    34: "tensors.notes.note_dropout",
    38: "selection.alpha_final",
}


def value(config: TrainConfig, name: str) -> object:
    place: object = config
    for part in name.split("."):
        place = getattr(place, part)
    return place


@pytest.mark.parametrize("name", OPTIONS.values())
def test_every_option_of_the_table_of_ambiguities_is_a_field(name: str) -> None:
    value(TrainConfig(), name)


@pytest.mark.parametrize(
    ("name", "released", "paper", "miracl"),
    [
        ("selection.alpha", 1.0, 0.5, 0.5),
        ("selection.variant", "mean_seg", "events", "mean_seg"),
        ("selection.rank_mode", "raw", "raw", "class_oriented"),
        ("selection.scale", "global", "raw", "fixed"),
        ("selection.dynamics_lag", 1, 0, 0),
        ("correction.target_mix", (0.6, 0.2, 0.2), (1.0, 0.0, 0.0), (0.6, 0.2, 0.2)),
        ("correction.renormalise", False, True, True),
        ("correction.leave_alone", False, False, True),
        ("loss.heads", "lambda", "off", "lambda"),
        ("model.attention_mask", "additive_plus1", "bool", "bool"),
        ("model.packed", False, True, True),
        ("model.ortho_absent", "include", "exclude", "exclude"),
        ("optim.batch", 128, 128, "auto"),
        ("optim.beta_origin", "global", "correction_start", "global"),
        ("optim.scheduler", "cosine10", "cosine10", "cosine10"),
        ("optim.sampler", "shuffle", "shuffle", "shuffle"),
        ("tensors.notes.note_dropout", True, False, False),
    ],
)
def test_presets_differ_as_the_sources_do(name: str, released: object, paper: object, miracl: object) -> None:
    assert [value(make_config(preset), name) for preset in ("released", "paper", "miracl")] == [released, paper, miracl]


def test_sizes_change_the_network_and_the_steps_alone() -> None:
    for preset in PRESETS:
        large, small = make_config(preset, "paper"), make_config(preset, "compact")
        assert (large.model.hidden, large.model.fusion_layers, large.tensors.series.step_hours) == (128, 4, 1.0)
        assert (small.model.hidden, small.model.fusion_layers, small.tensors.series.step_hours) == (64, 1, 2.0)
        assert large.tensors.series.max_steps == 512
        for part in ("loss", "optim", "selection", "mixture", "filter", "correction", "review"):
            assert getattr(large, part) == getattr(small, part)


def test_the_batch_follows_the_cohort_between_32_and_128() -> None:
    optim = OptimConfig()
    assert [optim.batch_size(n) for n in (10, 1600, 1845, 6400, 59_798)] == [32, 32, 36, 128, 128]
    assert OptimConfig(batch=7).batch_size(59_798) == 7


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_comes_back_from_json_as_it_was(preset: str, size: str) -> None:
    config = make_config(preset, size, **{"optim.epochs": 7, "selection.alpha_final": 0.9, "optim.batch": 19})
    assert TrainConfig.from_json(config.to_json()) == config
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.optim.epochs == 7


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("optim.epoch", 3),
        ("nothing.at.all", 3),
        ("optim", 3),
        ("optim.epochs", 0),
        ("optim.epochs", "ten"),
        ("optim.epochs", 2.5),
        ("optim.epochs", True),
        ("optim.batch", 0),
        ("optim.batch", "automatic"),
        ("optim.learning_rate", -1.0),
        ("optim.scheduler", "cosine"),
        ("model.dropout", 1.0),
        ("model.heads", 3),
        ("model.top_k", 10),
        ("model.packed", 1),
        ("loss.contrast", "pair"),
        ("correction.target_mix", [0.5, 0.5]),
        ("tensors.series.max_steps", 601),
        ("optim.warm_up", 31),
        ("review.label_share", 1.5),
    ],
)
def test_a_bad_option_is_refused_in_one_line(name: str, bad: object) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(**{name: bad})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_unknown_presets_sizes_and_text_are_refused() -> None:
    for call in (
        lambda: make_config("best"),
        lambda: make_config("paper", "huge"),
        lambda: TrainConfig(preset="best"),
        lambda: TrainConfig.from_json("{"),
        lambda: TrainConfig.from_dict([1]),
        lambda: TrainConfig.from_dict({"optim": 3}),
    ):
        with pytest.raises(ConfigError):
            call()


@pytest.mark.parametrize("config", [ModelConfig, LossConfig, OptimConfig, ReviewConfig])
def test_every_option_names_its_source_and_stands_in_its_docstring(config: type) -> None:
    for item in dataclasses.fields(config):
        assert item.metadata["source"]
        assert item.name in (config.__doc__ or "")
