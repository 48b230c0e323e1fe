"""axe-core in the page: what a machine can find of what keeps people out."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

GRAVE = ("serious", "critical")

_RUN = """
async () => {
  const menu = [...document.querySelectorAll('[data-testid="stPopoverBody"]')].find((body) => body.checkVisibility());
  return (await axe.run(menu || document, {resultTypes: ['violations']})).violations;
}
"""


@dataclass(frozen=True)
class Finding:
    """A rule of axe that a page breaks, and where."""

    rule: str
    impact: str
    help: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.impact}: {self.help} ({self.rule})\n" + "\n".join(f"    {place}" for place in self.places)


def source() -> str:
    """The axe-core script, out of the package that carries it; nothing is fetched."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        raise AssertionError("axe-playwright-python is not installed: pip install -e '.[test]'")
    return Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def findings(page: Page, impacts: tuple[str, ...] = GRAVE) -> list[Finding]:
    """What axe finds on the page as it stands, of the impacts asked for; in an open menu alone where one is open."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(source())
    found = page.evaluate(_RUN)
    return [
        Finding(
            rule["id"],
            rule["impact"],
            rule["help"],
            tuple(f"{' '.join(map(str, n['target']))} · {n['html'][:160]} · {_why(n)}" for n in rule["nodes"][:6]),
        )
        for rule in found
        if rule["impact"] in impacts
    ]


def _why(node: dict[str, object]) -> str:
    return str(node.get("failureSummary", "")).split("\n")[-1].strip()[:160]
