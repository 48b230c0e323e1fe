"""The page about a cohort: sections in the order in which somebody asks, each with what its numbers mean."""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from core.cohort import describe_draw as draw
from core.cohort.describe_draw import bar, histogram, number, percent, shares, table


def page(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Put the page together.

    Parameters
    ----------
    manifest
        The cohort's.
    found
        What `core.cohort.describe.measure` counted.
    """
    name = escape(str(manifest.get("name", "cohort")))
    parts = [
        _whole(found),
        _who(manifest, found),
        _labels(manifest, found),
        _together(manifest, found),
        _measured(found),
    ]
    parts += [_stays(found), _notes(found), _coverage(found)]
    few = found["min_cell"]
    style = files("core.cohort").joinpath("describe.css").read_text(encoding="utf-8")
    rule = (
        f"A count that fewer than {few} patients stand behind is not shown ({draw.HIDDEN}), nor a share of it."
        if few > 1
        else "Small counts are shown."
    )
    made = escape(str(manifest.get("created_at", ""))[:10])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Cohort {name}</title><style>{style}</style></head><body><main><h1>Cohort {name}</h1>"
        f"<p>{escape(_about(manifest))} {rule}</p>{''.join(parts)}</main>"
        f"<footer>Built {made}; fingerprint {escape(str(manifest['fingerprint'])[:12])}. "
        f"Licence of the source: {escape(str(manifest.get('licence', 'not stated')))}. "
        "No note text and no identifier stands in this file. Written by miracl cohort describe.</footer></body>"
        "</html>\n"
    )


def _about(manifest: Mapping[str, Any]) -> str:
    cutoff = manifest.get("cutoff_hours")
    read = "Models read the whole stay." if cutoff is None else f"Models read the first {cutoff:g} hours."
    known = {"recorded": "Labels are as recorded.", "truth-known": "Labels are invented, with the truth known."}
    return f"{read} {known.get(str(manifest.get('labels_against')), '')}".strip()


def _tile(value: str, words: str) -> str:
    return f'<div class="tile"><b>{value}</b><span>{escape(words)}</span></div>'


def _pairs(found: Mapping[str, Any]) -> str:
    """Write how many pairs there are; in thousands where the few stays without labels would follow from them."""
    whole = found["whole"]
    if 0 < whole["stays"] - whole["labelled"] < found["min_cell"]:
        return f"≈ {round(whole['pairs'], -3):,}"
    return number(whole["pairs"])


def _whole(found: Mapping[str, Any]) -> str:
    whole = found["whole"]
    stays = whole["stays"] or 1
    tiles = [
        _tile(number(whole["stays"]), "stays"),
        _tile(number(whole["patients"]), "patients"),
        _tile(number(whole["train"]), f"stays to train on, {number(whole['test'])} to test on"),
        _tile(_pairs(found), "pairs of stay and label"),
        _tile(percent(whole["both"] / stays, 0), "of stays with series and note"),
        _tile(percent(whole["labelled"] / stays, 0), "of stays with recorded labels"),
    ]
    if whole["los_days"] is not None:
        tiles.append(_tile(f"{whole['los_days']:.1f} d", "median length of stay"))
    if whole["hospitals"]:
        tiles.append(_tile(number(whole["hospitals"]), "hospitals"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _who(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    lines = [[escape(r["criterion"]), number(r["removed"]), number(r["out"])] for r in found["attrition"]]
    whole = found["whole"]
    missing = whole["stays"] - whole["labelled"]
    few = 0 < missing < found["min_cell"]
    said = (
        f"Not recorded: {draw.HIDDEN if few else number(missing)} stays have no label stated at all. They are no "
        "healthy stays: nothing is trained on their labels, and none is flagged."
        if missing
        else "Every stay has labels stated."
    )
    return (
        "<h2>Who is in it</h2>"
        + table(["Criterion", "removed", "left"], lines, caption="Stays, criterion by criterion")
        + f"<p>{said} {_set_aside(manifest)}</p>"
        + '<div class="pair">'
        + histogram(found["ages"], caption="Age at admission, years (90: 90 or over)", first="age", counted="stays")
        + shares(found["sexes"], caption="Sex as recorded", first="sex", counted="of stays")
        + "</div>"
    )


def _set_aside(manifest: Mapping[str, Any]) -> str:
    rows = sum(int(count) for count in (manifest.get("set_aside") or {}).values())
    return f"A lenient reader set {number(rows)} rows of the source aside; the manifest says why." if rows else ""


def _labels(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    rows = sorted(found["labels"], key=lambda row: -(row["train"] or row["test"] or {"share": 0})["share"])
    most = max((held["high"] for row in rows for held in (row["train"], row["test"]) if held), default=1.0)
    lines = [
        [
            escape(row["name"]),
            escape(row["persistence"]),
            draw.intervals(row["train"], row["test"], most),
            number(row["train"]["n"]) if row["train"] else draw.HIDDEN,
            _interval(row["train"]),
            _interval(row["test"]),
        ]
        for row in rows
    ]
    headings = ["Label", "course", f"0 to {percent(most, 0)}", "present", "training stays", "test stays"]
    text = (
        '<h2>Labels</h2><p class="key">Share of stays with the label present among those where it is stated, with 95 % '
        "Wilson intervals: <b>● training</b>, <i>■ test</i>.</p>"
        + table(headings, lines, caption=f"Source: {manifest['primary_source']}", left=3)
    )
    if len(found["sources"]) > 1:
        text += _sources(found)
    return text


def _interval(held: Mapping[str, Any] | None) -> str:
    if held is None:
        return draw.HIDDEN
    return f"{percent(held['share'])} <small>({100 * held['low']:.1f}–{100 * held['high']:.1f})</small>"


def _sources(found: Mapping[str, Any]) -> str:
    lines = [
        [
            escape(row["name"]) + (" (corrected in a round)" if row["primary"] else ""),
            number(row["stated"]),
            number(row["n"]),
            *(
                ["", "", ""]
                if row["primary"]
                else [percent(row["same"]), number(row["only_here"]), number(row["only_primary"])]
            ),
        ]
        for row in found["sources"]
    ]
    headings = ["Source", "pairs stated", "present", "same as the corrected", "present here alone", "there alone"]
    return table(headings, lines, caption="Sources of labels, and how often they say the same")


def _together(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    names = [str(label["name"]) for label in manifest["labels"]]
    heat = draw.heat_table(names, found["together"], caption="Columns are numbered as the rows are.")
    return (
        "<h2>Labels that come together</h2><p>How many times as often two labels stand together as they would if they "
        "had nothing to do with each other (lift): above 1 teal, below 1 ochre; a dot where too few patients have "
        "both.</p>"
        f'<div class="scroll">{heat}</div>'
    )


def _measured(found: Mapping[str, Any]) -> str:
    hours = found["hours"]

    def lines(model: bool) -> list[list[str]]:
        chosen = sorted((c for c in found["channels"] if c["model"] is model), key=lambda c: -(c["share"] or 0))
        return [
            [
                escape(c["name"]),
                bar(c["share"]),
                percent(c["share"], 0),
                draw.HIDDEN if c["middle"] is None else f"{c['middle']:.0f}",
            ]
            for c in chosen
        ]

    headings = ["Channel", "", "any value", "median values"]
    told = table(headings, lines(True), caption="Read by models", left=2)
    others = lines(False)
    half = (len(others) + 1) // 2
    rest = "".join(
        table(headings, part, caption="For readers", left=2) for part in (others[:half], others[half:]) if part
    )
    return (
        f"<h2>What was measured</h2><p>Share of stays with any value in the first {hours} hours, and how many values "
        "such a stay has. What is missing was not measured, or not charted.</p>"
        f"{told}<p>Share of the stays still in the unit that have a value, hour by hour.</p>"
        + draw.scale("none", "all")
        + draw.strips(found["hourly"], hours, label="Share of stays with a value, by channel and hour")
        + f'<div class="pair">{rest}</div>'
    )


def _stays(found: Mapping[str, Any]) -> str:
    return (
        "<h2>How long, how often</h2>"
        + '<div class="pair">'
        + histogram(found["los"], caption="Length of stay in the unit", first="days", counted="stays")
        + histogram(
            found["series"],
            caption="From admission to the last value that a model reads",
            first="hours",
            counted="stays",
        )
        + histogram(found["visits"], caption="Stays per patient", first="stays", counted="patients")
        + "</div>"
    )


def _notes(found: Mapping[str, Any]) -> str:
    if not found["notes"]:
        return "<h2>Notes</h2><p>The cohort has none.</p>"
    lines = []
    for row in found["notes"]:
        if row["n"] is None:
            lines.append([escape(row["name"]), *[draw.HIDDEN] * 5])
            continue
        low, middle, high = row["lengths"]
        lines.append(
            [
                escape(row["name"]),
                number(row["n"]),
                number(row["stays"]),
                number(middle),
                f"{number(low)}–{number(high)}",
                percent(row["readable"] / row["n"], 0),
            ]
        )
    headings = ["Category", "notes", "stays", "median length", "middle half", "read by models"]
    return "<h2>Notes</h2>" + table(headings, lines, caption="Lengths in characters")


def _coverage(found: Mapping[str, Any]) -> str:
    held = found["raster"]
    hours = found["hours"]
    if held is None:
        return "<h2>Examples of coverage</h2><p>Too few patients have a series to show examples.</p>"
    lines = held["lines"]
    words = (
        f"{len(lines)} stays drawn at random, the fullest first: how many of {held['channels']} channels have a value"
    )
    return (
        f"<h2>Examples of coverage</h2><p>{words} in each hour. A line is a stay; white begins where it ended.</p>"
        + draw.scale("none", "all channels")
        + draw.raster(lines, hours, held["channels"], label=words)
    )
