"""How every source has to refuse a folder: one line, no patient text, nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import MiraclError

MARKER = "Zebulon"
"""Stands in cells that no message may repeat."""


def refused_by(build: Callable[[Path], object], target: Path) -> str:
    """The one line in which a build is refused; nothing may be left behind."""
    with pytest.raises(MiraclError) as caught:
        build(target)
    message = str(caught.value)
    assert "\n" not in message
    assert MARKER not in message
    assert not target.exists()
    assert list(target.parent.glob(f".{target.name}*")) == []
    return message
