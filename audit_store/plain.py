"""Text that others wrote, as plain text: nothing in it is obeyed, and what would not be seen is shown.

Control characters move a terminal's cursor; bidirectional overrides make a line read otherwise than it is stored.
Both are replaced one for one, so that places counted in characters (found terms, evidence) stay true. Marks that
scripts written from right to left or with joined letters need are left alone.
"""

_LINES = ("\n", "\t")
_STEERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SEPARATORS = (0x2028, 0x2029)
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and their full-width forms
_SHOWN: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _LINES},
    0x7F: "\u2421",
    **dict.fromkeys((*range(0x80, 0xA0), *_STEERING, *_SEPARATORS), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
_SHOWN_IN_A_LINE = {**_SHOWN, **{ord(character): " " for character in _LINES}}


def visible(text: str) -> str:
    """Make control and steering characters visible, one character for one; line ends and tabs stay."""
    return text.translate(_SHOWN)


def one_line(text: str) -> str:
    """Give a text for a single line: as `visible`, with line ends and tabs as spaces."""
    return text.translate(_SHOWN_IN_A_LINE)


def is_plain(text: str) -> bool:
    """Whether a text of one line holds nothing that would steer a screen."""
    return text == text.translate(_SHOWN_IN_A_LINE)


def cell(text: str) -> str:
    """Give a text for a spreadsheet's cell: with an apostrophe before what one would take for a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip()[:1] in _FORMULA or shown[:1] in ("\t", "\n") else shown
