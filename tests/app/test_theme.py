"""The palette can be read, and the server asks the internet for nothing."""

import re
from pathlib import Path

import pytest

from app import theme
from app.run import command, environment


@pytest.mark.parametrize(("foreground", "background"), theme.TEXT_ON)
def test_text_reaches_the_contrast_that_wcag_asks_of_it(foreground: str, background: str) -> None:
    assert theme.contrast(foreground, background) >= 4.5


def test_contrast_of_black_on_white_is_twenty_one_and_of_a_colour_on_itself_one() -> None:
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert theme.contrast("#123456", "#123456") == pytest.approx(1.0)


def test_the_style_sheet_names_no_colour_that_the_palette_lacks_and_loads_nothing() -> None:
    sheet = theme.style_sheet()
    used = {part.split(")")[0] for part in sheet.split("var(--")[1:]}
    assert used <= set(re.findall(r"--([a-z-]+):", sheet))
    assert "url(" not in sheet
    assert "@import" not in sheet
    assert "http" not in sheet


def test_the_server_listens_on_this_machine_alone_and_keeps_no_statistics(tmp_path: Path) -> None:
    flags = command(9000)
    assert "--server.address=127.0.0.1" in flags
    assert "--browser.gatherUsageStats=false" in flags
    assert "--browser.serverAddress=localhost" in flags
    assert "--server.headless=true" in flags
    assert environment(tmp_path, {})["MIRACL_WORKSPACE"] == str(tmp_path.resolve())
