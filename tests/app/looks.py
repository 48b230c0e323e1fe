"""What a person would see at a glance and axe does not look for: sizes, headings, the bar, what runs off the page."""

from playwright.sync_api import Page

SMALLEST = 13.0  # px; text read at arm's length

_SCRIPT = """
(smallest) => {
  const faults = [];
  const shown = (e) => e.checkVisibility({opacityProperty: true, visibilityProperty: true});
  const words = (e) => e.innerText.trim().slice(0, 40);
  const small = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent.trim(), place = node.parentElement;
    if (!text || !place || !shown(place)) continue;
    if (place.closest('svg, canvas, .sr, style, script, noscript')) continue;
    const style = getComputedStyle(place), size = parseFloat(style.fontSize);
    if (style.fontFamily.includes('Material')) continue;
    const name = place.className || place.tagName;
    if (size < smallest - 0.01) small.set(name, `text of ${size.toFixed(1)} px: ${text.slice(0, 40)} (${name})`);
  }
  faults.push(...small.values());
  const heads = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].filter(shown);
  const first = heads.filter((head) => head.tagName === 'H1');
  if (first.length !== 1) faults.push(`${first.length} first-level headings: ${first.map(words).join(' | ')}`);
  let level = 0;
  for (const head of heads) {
    const now = Number(head.tagName[1]);
    if (now > level + 1) faults.push(`a heading of level ${now} after level ${level}: ${words(head)}`);
    level = now;
  }
  const bar = document.querySelector('.st-key-topbar');
  if (bar) {
    const height = bar.getBoundingClientRect().height;
    if (height > 48) faults.push(`the bar is ${height} px high`);
    const cut = bar.scrollWidth - bar.clientWidth, current = bar.querySelectorAll('[aria-current="page"]').length;
    if (cut > 1) faults.push(`${cut} px of the bar are cut off`);
    if (current !== 1) faults.push(`the bar marks ${current} pages as the current one`);
  }
  const main = document.querySelector('main');
  const beyond = main ? main.scrollWidth - main.clientWidth : 0;
  if (beyond > 1) faults.push(`the page runs ${beyond} px off to the right`);
  for (const picture of document.querySelectorAll('[data-testid="stVegaLiteChart"]')) {
    const said = picture.getAttribute('aria-label') || picture.querySelector('[aria-label]');
    if (shown(picture) && !said) faults.push('a chart without words');
  }
  return faults;
}
"""


def faults(page: Page) -> list[str]:
    """What is wrong with the page's sizes, headings, bar and width, one line each; nothing where all is well."""
    found: list[str] = page.evaluate(_SCRIPT, SMALLEST)
    return found
