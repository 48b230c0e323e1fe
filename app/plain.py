"""Text that others wrote, as it goes into a page: as HTML or as Markdown, every sign of it comes out as typed.

The pages take `escape` from here and nowhere else; a test holds that.
"""

import html
import re

from audit_store.plain import one_line, visible

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=])")
_APART = re.compile(r"(:(?=\S)|w(?=ww\.)|@|[-<>=~](?=[-<>=]))", re.IGNORECASE)
_JOINER = "\u2060"


def escape(text: str) -> str:
    """Text for HTML, inside an element or an attribute's quotes; control characters are shown, not obeyed."""
    return html.escape(visible(text))


def literal(text: str) -> str:
    """Text for what reads Markdown (buttons, toasts, messages): no markup, formula, colour, icon, emoji or link in it.

    Streamlit looks for icons, emoji, addresses and arrows after it has read the escapes, so their signs are set apart
    by a joiner that has no width.
    """
    apart = _APART.sub(rf"\1{_JOINER}", " ".join(one_line(text).split()))
    return _MARKDOWN.sub(r"\\\1", apart)
