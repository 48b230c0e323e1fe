"""The presets by family, for the command's help; `core.config.PRESETS` decides which there are."""

DEFAULT_PRESET = "calibrated"

FAMILIES: dict[str, tuple[str, ...]] = {
    "To find and correct": ("calibrated", "miracl", "paper", "released"),
    "To compare, losses": ("bce", "bce_regularised", "focal", "asl", "gce", "mllsc"),
    "noise models": ("multit", "linc", "dfd"),
    "networks": ("medfuse", "m3care"),
    "several label sources": ("attention_on_label", "majority", "mean_of_sources", "dawid_skene"),
}


def preset_help() -> str:
    """One line for ``miracl train --help``."""
    families = "; ".join(f"{family}: {', '.join(names)}" for family, names in FAMILIES.items())
    return f"How labels are judged. {families}."
