"""The look: one palette, one set of server flags, one style sheet.

Ink on paper, one teal for what can be pressed, ochre for what a search found. Each text colour reaches a contrast of
4.5 : 1 or more on the ground it stands on (`contrast`; a test walks the pairs). Colour never stands alone: a state has
a word and a shape, a found term has a kind of underline.
"""

from functools import cache
from pathlib import Path

INK = "#17252c"
INK_SOFT = "#4a5a63"
PAPER = "#fbfaf6"
CARD = "#ffffff"
WASH = "#eef0ea"
LINE = "#cfd4cd"
TEAL = "#0b5a66"
TEAL_WASH = "#dcebea"
OCHRE = "#7a4b00"
OCHRE_WASH = "#fbedc8"
PLUM = "#6b2f6e"
PLUM_WASH = "#f3e3f3"
BRICK = "#9c2f1f"
BRICK_WASH = "#f8e1dc"
NORMAL_RANGE = "#d9e7d6"
AFTER_CUTOFF = "#e4e2f0"

FONT = "Source Sans, Source Sans Pro, sans-serif"

TEXT_ON: tuple[tuple[str, str], ...] = (
    (INK, PAPER),
    (INK, CARD),
    (INK, WASH),
    (INK_SOFT, PAPER),
    (INK_SOFT, CARD),
    (INK_SOFT, WASH),
    (TEAL, PAPER),
    (TEAL, TEAL_WASH),
    (CARD, TEAL),
    (OCHRE, CARD),
    (OCHRE, OCHRE_WASH),
    (PLUM, PLUM_WASH),
    (BRICK, CARD),
    (BRICK, BRICK_WASH),
    (INK, OCHRE_WASH),
    (INK, PLUM_WASH),
)

SERVER_FLAGS: dict[str, str] = {
    "browser.gatherUsageStats": "false",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "logger.level": "warning",
    "runner.postScriptGC": "false",  # a full collection after each key press costs 90 ms of its 190
}

THEME_FLAGS: dict[str, str] = {
    "theme.base": "light",
    "theme.primaryColor": TEAL,
    "theme.backgroundColor": PAPER,
    "theme.secondaryBackgroundColor": WASH,
    "theme.textColor": INK,
    "theme.linkColor": TEAL,
    "theme.borderColor": LINE,
    "theme.showWidgetBorder": "true",
    "theme.baseFontSize": "15",
    "theme.baseRadius": "4px",
    "theme.buttonRadius": "4px",
}


def contrast(foreground: str, background: str) -> float:
    """The WCAG contrast ratio of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(foreground), luminance(background)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def icon() -> str:
    """The page's own mark, drawn here: a named icon would be fetched from the internet."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="6" fill="{TEAL}"/>'
        f'<path d="M7 17l6 6 12-14" fill="none" stroke="{CARD}" stroke-width="4"/></svg>'
    )


@cache
def style_sheet() -> str:
    """The style sheets, the frame's first, with the palette's names filled in."""
    folder = Path(__file__).with_name("styles")
    files = sorted(folder.glob("*.css"), key=lambda path: (path.name != "base.css", path.name))
    sheet = "\n".join(path.read_text(encoding="utf-8") for path in files)
    palette = {
        "ink": INK,
        "ink-soft": INK_SOFT,
        "paper": PAPER,
        "card": CARD,
        "wash": WASH,
        "line": LINE,
        "teal": TEAL,
        "teal-wash": TEAL_WASH,
        "ochre": OCHRE,
        "ochre-wash": OCHRE_WASH,
        "plum": PLUM,
        "plum-wash": PLUM_WASH,
        "brick": BRICK,
        "brick-wash": BRICK_WASH,
        "normal": NORMAL_RANGE,
        "after": AFTER_CUTOFF,
    }
    names = "".join(f"--{name}: {value};" for name, value in palette.items())
    return f"<style>:root {{{names}}}\n{sheet}</style>"
