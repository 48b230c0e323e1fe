"""The comparison methods by name; each trains through the one loop (`core.fit`)."""

from importlib import import_module

from core.errors import ConfigError
from core.methods.base import Method, Setting

METHODS: dict[str, str] = {
    "miracl": "core.methods.miracl:Miracl",
    "calibrated": "core.methods.calibrated:Calibrated",
    "bce": "core.methods.losses:BCE",
    "focal": "core.methods.losses:Focal",
    "asl": "core.methods.losses:ASL",
    "gce": "core.methods.losses:GCE",
    "mllsc": "core.methods.losses:MLLSC",
    "multit": "core.methods.multit:MultiT",
    "medfuse": "core.methods.medfuse:MedFuseMethod",
    "m3care": "core.methods.m3care:M3CareMethod",
    "linc": "core.methods.linc:LiNC",
    "dfd": "core.methods.dfd:DFD",
    "attention_on_label": "core.methods.attention_on_label:AttentionOnLabel",
    "majority": "core.methods.consensus:Majority",
    "mean_of_sources": "core.methods.consensus:MeanOfSources",
    "dawid_skene": "core.methods.consensus:DawidSkene",
}
"""Name in ``config.method.name`` → where its class stands; loaded when it is asked for."""

WEIGHING = ("attention_on_label", "majority", "mean_of_sources", "dawid_skene")
"""Methods that read every label source of a cohort; the others read the primary one alone."""


def make_method(setting: Setting) -> Method:
    """Make the method that the config names.

    Raises
    ------
    ConfigError
        When there is none of that name.
    """
    asked = setting.config.method.name
    if asked not in METHODS:
        raise ConfigError(f"method.name among {', '.join(METHODS)}", repr(asked), "choose one of them")
    module, name = METHODS[asked].split(":")
    made = getattr(import_module(module), name)(setting)
    assert isinstance(made, Method)
    return made
