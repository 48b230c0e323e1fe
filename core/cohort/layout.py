"""Which columns the model's channels have in a packed series."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import ConfigError


@dataclass(frozen=True)
class Layout:
    """Which columns each model channel has in a pack."""

    channels: tuple[str, ...]
    impute: tuple[float, ...]
    categories: tuple[tuple[str, ...], ...]
    codes: tuple[tuple[float, ...], ...]
    first_column: tuple[int, ...]
    feature_names: tuple[str, ...]
    feature_channel: tuple[int, ...]

    @property
    def continuous(self) -> list[int]:
        """Places of the channels that are numbers."""
        return [i for i, names in enumerate(self.categories) if not names]


def layout_of(manifest: dict[str, Any]) -> Layout:
    """Lay out the features of the manifest's model channels.

    Raises
    ------
    ConfigError
        When no channel is marked for the model, or one lacks an imputation value or its categories' codes.
    """
    chosen = [channel for channel in manifest["channels"] if channel.get("model")]
    if not chosen:
        raise ConfigError("a channel with model = true in the manifest", "none", "build the cohort again")
    names: list[str] = []
    owner: list[int] = []
    first: list[int] = []
    categories: list[tuple[str, ...]] = []
    codes: list[tuple[float, ...]] = []
    for place, channel in enumerate(chosen):
        first.append(len(names))
        kinds = tuple(str(name) for name in channel.get("categories") or ())
        scores = tuple(float(code) for code in channel.get("codes") or ())
        if channel.get("impute") is None or len(kinds) != len(scores):
            raise ConfigError(
                f"channel {channel['name']} with an imputation value and one code a category",
                f"impute {channel.get('impute')}, {len(kinds)} categories, {len(scores)} codes",
                "build the cohort again",
            )
        categories.append(kinds)
        codes.append(scores)
        columns = [f"{channel['name']}={kind}" for kind in kinds] or [str(channel["name"])]
        names += columns
        owner += [place] * len(columns)
    names += [f"measured:{channel['name']}" for channel in chosen]
    owner += list(range(len(chosen)))
    return Layout(
        tuple(str(channel["name"]) for channel in chosen),
        tuple(float(channel["impute"]) for channel in chosen),
        tuple(categories),
        tuple(codes),
        tuple(first),
        tuple(names),
        tuple(owner),
    )


def impute_places(layout: Layout) -> np.ndarray:
    """Give imputation values as the grid holds them: numbers, or the place of the category with that code."""
    places = []
    for value, kinds, codes in zip(layout.impute, layout.categories, layout.codes, strict=True):
        if kinds and value not in codes:
            raise ConfigError("imputation values among the codes", "another value", "build the cohort again")
        places.append(float(codes.index(value)) if kinds else value)
    return np.array(places, dtype=np.float32)
