"""The charts of a pair by mouse, in a real browser: zoomed and dragged together, set back, never in a scroll's way."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.app.browser import browsing, chromium, serving
from tests.app.invented import NAME, PASSWORD, make_workspace
from tests.app.sitting import sign_in, start

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
HOURS = """() => [...document.querySelectorAll('.st-key-series_pane [data-testid=stVegaLiteChart] svg.marks')].map(
  (svg) => Object.fromEntries([...svg.querySelectorAll('.role-axis-label text')].map((text) => {
    const at = Number(text.getAttribute('transform').match(/translate\\(([-\\d.]+)/)[1]);
    return [text.textContent, at];
  }).filter(([, at]) => at >= 0)))"""
"""Where each hour written under the charts stands in each column, pixels from the axis."""
SCROLLED = "document.querySelector('.st-key-series_pane').scrollTop"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chromium()
    folder = tmp_path_factory.mktemp("zoom")
    made = make_workspace(folder / "workspace")
    with serving(made.folder, folder / "server.log") as there:
        yield there
    made.store.close()


def hours(page: Page) -> dict[str, float]:
    """Where the hours stand: the same in both columns."""
    page.wait_for_timeout(350)
    found: list[dict[str, float]] = page.evaluate(HOURS)
    assert len(found) == 2
    assert len(found[0]) > 1
    assert found[0] == pytest.approx(found[1], abs=2)
    return found[0]


@pytest.mark.parametrize(("size", "column"), [((1440, 900), 0), ((1024, 768), 1)])
def test_wheel_with_a_key_and_drag_move_all_charts_together_and_a_double_click_sets_them_back(
    address: str, size: tuple[int, int], column: int
) -> None:
    with browsing(*size) as page:
        sign_in(page, address, NAME, PASSWORD)
        start(page)
        page.locator(".st-key-series_pane svg.marks").nth(1).wait_for(timeout=30_000)
        first = hours(page)
        box = page.locator(".st-key-series_pane svg.marks").nth(column).bounding_box()
        assert box is not None
        x, y = box["x"] + 0.7 * box["width"], box["y"] + 50
        page.mouse.move(x, y)
        page.mouse.wheel(0, 300)  # without a key the pane scrolls, and the charts stay as they are
        page.wait_for_timeout(300)
        scrolled = page.evaluate(SCROLLED)
        assert hours(page) == first
        page.mouse.wheel(0, -900)
        page.wait_for_timeout(300)
        assert page.evaluate(SCROLLED) == 0
        assert scrolled > 0

        page.keyboard.down("Control")
        page.mouse.wheel(0, -300)
        page.keyboard.up("Control")
        near = hours(page)
        assert near != first
        assert page.evaluate(SCROLLED) == 0
        assert page.evaluate("window.devicePixelRatio") == 1  # the browser did not zoom the page
        page.keyboard.down("Shift")
        page.mouse.wheel(300, 0)  # with Shift, browsers report the wheel as sideways
        page.keyboard.up("Shift")
        assert hours(page) == pytest.approx(first, abs=2)

        page.mouse.down()
        page.mouse.move(x - 60, y, steps=5)
        page.mouse.up()
        moved = hours(page)
        both = moved.keys() & first.keys()
        assert {hour: moved[hour] for hour in both} == pytest.approx({hour: first[hour] - 60 for hour in both}, abs=2)
        assert both
        page.mouse.dblclick(x, y)
        assert hours(page) == first
