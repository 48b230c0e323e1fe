"""Text that others wrote, as it goes into a page: as HTML or as Markdown, every sign of it comes out as typed.

The pages take `escape` from here and nowhere else; a test holds that.
"""

import html
import re

from audit_store.plain import one_line, visible

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")


def escape(text: str) -> str:
    """Text for HTML, inside an element or an attribute's quotes; control characters are shown, not obeyed."""
    return html.escape(visible(text))


def literal(text: str) -> str:
    """Text for what reads Markdown (buttons, toasts, messages): no markup, formula, colour, icon or emoji in it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(one_line(text).split()))
