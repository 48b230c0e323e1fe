"""A workspace whose texts are all written to be more than text: markup, scripts, formulas, controls; and what shows it.

What would be fetched, run or drawn carries a mark (`MARK`, a host that does not exist), so that a page can be asked.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from playwright.sync_api import Page

from app.plain import visible
from audit_store.decisions import Reading, new_token, record
from audit_store.people import add_person, find_person, operator, set_attestation
from core.cohort import labelset
from tests.app import invented
from tests.app.invented import NAME, PASSWORD, Invented, make_workspace

MARK = "leak.invalid"
SHORT = (
    f"<b class=planted>b</b> **stars** _under_ `code` $x^2$ :material/home: :red[no] :smile: "
    f"[go](http://{MARK}/a) ![](http://{MARK}/p.png) <img src=//{MARK}/i onerror=window.ran=1>"
)
LONG = (
    f"{SHORT} <script>window.ran=1</script><iframe src='http://{MARK}/f'></iframe>"
    f"<a id=planted href='javascript:window.ran=1'>x</a><style>@import url(http://{MARK}/s.css);"
    f"body{{background:url(http://{MARK}/bg)}}</style><svg onload=window.ran=1></svg>"
    '\' onmouseover=\'window.ran=1\' " onfocus="window.ran=1" autofocus x=" &lt;i class=planted&gt; '
    "{{datum.value}} ${window.ran=1} '+(window.ran=1)+' datum['x'] $$\\href{javascript:window.ran=1}{y}$$ "
    f'=HYPERLINK("http://{MARK}") \x1b[31mred\x1b[0m \u202edesrever\u202c\n# Heading\n- item\n> quote\n\n'
    f"| a | b |\n|---|---|\n[ref]: http://{MARK}/r\n```\nfence\n```\n"
)
ASKED = {"septicemia", "acute_renal_failure", "copd"}

_SCRIPT = """
(mark) => {
  const found = [];
  const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
  for (const element of all(document)) {
    const words = (element.textContent || '').trim();
    if (element.id === 'planted' || element.classList.contains('planted')) found.push(`${element.tagName} from a text`);
    for (const {name, value} of element.attributes) {
      const links = ['src', 'href', 'srcset', 'action', 'xlink:href', 'data'].includes(name);
      const away = value.includes(mark) || value.startsWith('javascript:');
      if (links && away) found.push(`${name}=${value.slice(0, 60)}`);
      if (name.startsWith('on') && value.includes('ran')) found.push(`${name} on ${element.tagName}`);
      if (name === 'style' && value.includes(mark)) found.push('a style from a text');
    }
    if (element.matches('.katex, .katex-error')) found.push('a formula');
    const loud = ['STRONG', 'EM', 'B'].includes(element.tagName);
    if (loud && ['stars', 'under'].includes(words)) found.push(`bold ${words}`);
    if (element.tagName === 'CODE' && (words === 'code' || words === 'fence')) found.push('code from a text');
    if (element.tagName === 'STYLE' && words.includes(mark)) found.push('a style sheet from a text');
    if (/^H[1-6]$/.test(element.tagName) && words === 'Heading') found.push('a heading from a text');
    if (element.matches('[data-testid="stIconMaterial"]') && words === 'home') found.push('an icon from a text');
    if (element.matches('.stMarkdownColoredText') && words === 'no') found.push('a colour from a text');
  }
  const shown = document.body.innerText;
  if (shown.includes('😄')) found.push('an emoji from a text');
  for (const c of ['\\u001b', '\\u202e']) if (shown.includes(c)) found.push('a control character');
  if (window.ran) found.push('a script from a text ran');
  return [...new Set(found)];
}
"""


def obeyed(page: Page) -> list[str]:
    """What of the texts the page took for more than text; nothing where all is well."""
    found: list[str] = page.evaluate(_SCRIPT, MARK)
    return found


def make_hostile(folder: Path) -> Invented:
    """A workspace with these texts as notes, evidence, names of labels and people, comments and attestations."""
    labels = tuple(
        replace(label, name=f"{label.name} {SHORT}") if label.key in ASKED else label for label in labelset.PHENOTYPES
    )
    texts = {
        place: [(f"{kind} {SHORT}", hour, f"{text} {LONG}") for kind, hour, text in notes]
        for place, notes in invented.TEXTS.items()
    }
    evidence: list[Any] = [
        (key, visit, hour, kind, f"{name} {SHORT}", value, unit and SHORT, text and f"{text} {SHORT}")
        for key, visit, hour, kind, name, value, unit, text in invented.EVIDENCE
    ]
    with (
        patch.object(invented, "PHENOTYPES", labels),
        patch.object(invented, "TEXTS", texts),
        patch.object(invented, "EVIDENCE", evidence),
    ):
        made = make_workspace(folder, role="steward", found=True)
    bea = add_person(made.store, operator(), "bea", PASSWORD, display_name=SHORT[:200], role="reviewer")
    add_person(made.store, operator(), "cleo", PASSWORD, display_name=SHORT[:200], role="adjudicator")
    mara = find_person(made.store, NAME)
    assert mara is not None
    set_attestation(made.store, mara, "bea", SHORT[:200], "2030-01-31")
    place = made.stays[("p-kidney", 0)]
    for person, answer in ((bea, "present"), (mara, "absent")):
        record(made.store, person, Reading(1, place, "acute_renal_failure", answer, comment=LONG), new_token())
    return made


__all__ = ["LONG", "MARK", "SHORT", "make_hostile", "obeyed", "visible"]
