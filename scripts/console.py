"""The terminal: what others wrote (names, labels, a cohort's title) comes out as typed, and steers nothing."""

from typing import Any

from rich.console import Console
from rich.text import Text

from audit_store.plain import visible


class PlainConsole(Console):
    """A console that reads no markup and no emoji names, and shows control characters in place of obeying them."""

    def __init__(self, *, stderr: bool = False, **more: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False, **more)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how)
