"""`core/RESULTS.md`, written whole from the raw rows, and the short tables of the README.

    miracl benchmark report

Both are made of rows alone, so that they can be written again wherever the rows are. The README's part stands between
two marks and is replaced; the rest of it is left as it is.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import RunError
from core.fileio import replacing
from core.noise.settings import SEVEN
from scripts.benchmarks.cohorts import EICU
from scripts.benchmarks.evidence import markdown as evidence_markdown
from scripts.benchmarks.figures import write_figures
from scripts.benchmarks.machine import commit
from scripts.benchmarks.measures import measures, measures_markdown
from scripts.benchmarks.portrait import load_portraits
from scripts.benchmarks.report import ablation_markdown, cost_markdown, robustness_markdown
from scripts.benchmarks.report_finding import detection_markdown, detector_title, repair_markdown
from scripts.benchmarks.rows import SCHEMAS, Row, read_rows
from scripts.benchmarks.sources import markdown as sources_markdown
from scripts.benchmarks.standing import (
    BEST_EPOCH,
    DEFAULT,
    ON_COURSE,
    best_of,
    gap_closed,
    of,
    rivals_of,
    with_best_epoch,
)
from scripts.benchmarks.tables import (
    Course,
    answered,
    average,
    bold_if,
    by_seed,
    courses,
    figure,
    grouped,
    markdown_table,
    method_title,
    noise_title,
    noises_of,
)

WRITERS = {
    "robustness": ("Robustness", robustness_markdown),
    "detection": ("Detection", detection_markdown),
    "ablation": ("Ablation", ablation_markdown),
    "repair": ("Repair", repair_markdown),
    "evidence": ("What charts say", evidence_markdown),
    "sources": ("Several label sources", sources_markdown),
    "cost": ("Cost", cost_markdown),
}
READABLE = 0o644
"""Documents of the tree, unlike what holds patients, are for everyone."""

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
SHORT = ("bce", ON_COURSE, "bce_regularised", "gce", "linc", "paper", "miracl", DEFAULT, "regression", BEST_EPOCH)
"""Methods of the README's table; the best of the rest joins them."""

PREFACE = """\
Written by `miracl benchmark report` from the raw rows in `scripts/benchmarks/rows` (Parquet); what made
the rows stands under each table. Each table is one command: `miracl benchmark {verbs}`. Runs that are finished are not
run again; `--device cuda` runs them on a GPU.

Means over seeds ± standard deviation (ddof 1). A seed names the patients, the noise draw and the weights, and is the
same for every method; the eICU demo's patients and their split are the same for all seeds, so that its ± knows nothing
of other patients. Noise (ρ₊, ρ₋): share of positives lost, of negatives switched on; it is planted in training stays
alone. The last epoch is reported, nothing stops early, and no run sees a test label, except in the rows marked †. The
default's options were chosen on development cohorts whose truth was looked at; how many decisions are held back to
calibrate, with seed 0 of the repair table in view (`core/DECISIONS.md`). "The default's course" behind a method: it has
the default's optimiser, schedule and decay in place of its own. "(k)" behind a figure: k runs, fewer than the others
have."""


def read_tables(folder: Path) -> dict[str, list[Row]]:
    """Every table's rows."""
    return {name: read_rows(folder, name) for name in SCHEMAS}


def results_markdown(tables: Mapping[str, Sequence[Row]], figures: Mapping[str, str] | None = None) -> str:
    """All tables, measures first; `figures` by link, each with its caption."""
    present = [name for name in WRITERS if tables.get(name)]
    parts = ["# Results", PREFACE.format(verbs="|".join(present)), f"Written at commit `{commit()}`."]
    for course in courses(tables.get("robustness", [])):
        if not course.recorded and course.epochs == FULL_EPOCHS:
            parts += [
                f"## Measures: {course.title}",
                measures_markdown(measures(tables, course.cohort, course.size)),
            ]
    for name in present:
        title, write = WRITERS[name]
        parts += [f"## {title}", f"`miracl benchmark {name}`", write(list(tables[name]))]
    if figures:
        parts += ["## Figures", *(f"{told}.\n\n![{told}]({link})" for link, told in figures.items())]
    return "\n\n".join(parts) + "\n"


FULL_EPOCHS = 30
"""Measures are told of runs of the paper's length; shorter ones only show that everything runs."""


def short_tables(
    tables: Mapping[str, Sequence[Row]], default: str = DEFAULT, figures: Mapping[str, str] | None = None
) -> str:
    """The README's tables: test mAP under the seven, who finds the wrong labels, and what reading in order removes.

    All of the cohort of known truth; test mAP on the eICU demo too, once it was measured. `figures` by link, each with
    its caption: mAP by epoch, precision of flags and review in order stand under their tables.
    """
    parts = []
    pictures = {Path(link).stem: [f"![{told}]({link})"] for link, told in (figures or {}).items()}
    found = {c: rows for c, rows in courses(tables.get("robustness", [])).items() if c.epochs == FULL_EPOCHS}
    for place, (course, rows) in enumerate(found.items()):
        if place == 0 or course.cohort == EICU:
            parts += _short_robustness(course, with_best_epoch(rows), default)
        if place == 0:
            parts += pictures.get("map_by_epoch", [])
            for table, write, picture in (
                ("detection", _short_detection, "precision_recall"),
                ("repair", _short_repair, "repair"),
            ):
                told = write(courses(tables.get(table, [])).get(course, []), default)
                parts += [*told, *(pictures.get(picture, []) if told else [])]
    return "\n\n".join(parts)


def _short_robustness(course: Course, rows: list[Row], default: str) -> list[str]:
    noises = [n for n in ("clean", *SEVEN) if any(r["noise"] == n for r in rows)]
    listed = [m for m in SHORT if any(r["method"] == m for r in rows)]
    rest = [m for m in rivals_of(rows, default) if m not in listed]
    best_rest = [m for n in noises if (m := best_of(rows, rest, n)) is not None]
    if best_rest:
        listed.insert(1, max(dict.fromkeys(best_rest), key=best_rest.count))
    tops = {n: best_of(rows, dict.fromkeys(r["method"] for r in rows if r["method"] != BEST_EPOCH), n) for n in noises}
    listed[1:1] = dict.fromkeys(m for m in tops.values() if m is not None and m not in listed)
    lines = []
    for method in listed:
        means = {n: average([*by_seed(of(rows, method, n), "map").values()]) for n in noises}
        title = "BCE at its best epoch, an oracle" if method == BEST_EPOCH else method_title(method)
        lines.append([title, *(bold_if(figure(means[n]), tops[n] == method) for n in noises)])
    chance = average([r["chance"] for r in rows if r["chance"] is not None])
    closed = [
        f"{noise_title(n)} {figure(share, 2)}" for n in noises if (share := gap_closed(rows, default, n)) == share
        and n != "clean"
    ]  # fmt: skip
    counts = [n for m in listed for noise in noises if (n := len(by_seed(of(rows, m, noise), "map")))]
    if not counts:
        return []
    seeds = f"{max(counts)} seeds" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} seeds"
    told = f"Test mAP against {course.against}, last epoch, mean of {seeds} ({course.title}); chance {figure(chance)}."
    on_course = [
        f"{noise_title(n)} {figure(share, 2)}" for n in noises if n != "clean"
        and (share := gap_closed(rows, default, n, ON_COURSE)) == share
    ]  # fmt: skip
    gap = f"Share of the gap between training on noisy and on clean labels that it closes: {', '.join(closed)}."
    if on_course:
        gap += f" Of the gap of BCE trained by the default's own optimiser and schedule: {', '.join(on_course)}."
    return [told, markdown_table(["method", *map(noise_title, noises)], lines), *([gap] if closed else [])]


def _short_detection(rows: list[Row], default: str) -> list[str]:
    settings = [n for n in ("sym20", "bal20", "stay", "source") if any(r["noise"] == n for r in rows)]
    lines = []
    named = grouped(rows, lambda r: (r["method"], r["detector"]))
    for (method, detector), mine in named.items():
        if method != "bce" and (method, detector) != (default, "error_probability"):
            continue
        cells = [
            figure(average([*by_seed([r for r in mine if (r["noise"], r["observed_class"]) == (n, c)],
                                     "average_precision").values()]))
            for n in settings
            for c in ("positive", "negative")
        ]  # fmt: skip
        lines.append([detector_title(method, detector), *cells])
    if not lines:
        return []
    head = ["detector", *(f"{noise_title(n)}, {c}" for n in settings for c in ("present", "absent"))]
    return ["Average precision of wrong labels, by what was recorded, macro over labels.", markdown_table(head, lines)]


def _short_repair(rows: list[Row], default: str) -> list[str]:
    mine = [r for r in rows if r["method"] == default and answered(r["repaired"])]
    settings = noises_of(mine)
    if not any(r["reviewed"] for r in mine):
        return []
    most = max(r["reviewed"] for r in mine)
    orders = {"method": "P(label wrong)", "loss": "loss of the same network", "random": "at random"}
    lines = [
        [
            title,
            *(
                figure(average([100 * r["repaired"] / most for r in mine
                                if (r["noise"], r["order"], r["reviewed"]) == (noise, order, most)]), 1)
                for noise in settings
            ),
        ]
        for order, title in orders.items()
        if any(r["order"] == order for r in mine)
    ]  # fmt: skip
    told = (
        f"Errors removed per 100 pairs read, the first {most:,} of each order, answered as they truly are. The first "
        "order is made anew, by training, after every 500; the second is read straight down."
    )
    return [told, markdown_table(["order", *map(noise_title, settings)], lines)]


def put_in_readme(text: str, readme: Path) -> None:
    """Replace what stands between the two marks.

    Raises
    ------
    RunError
        When the marks are not there, once each and in order.
    """
    whole = readme.read_text(encoding="utf-8")
    if whole.count(BEGIN) != 1 or whole.count(END) != 1 or whole.index(BEGIN) > whole.index(END):
        raise RunError(
            f"{readme.name} with {BEGIN} and {END}", "them missing or twice", "put each on a line of its own"
        )
    before, after = whole.split(BEGIN)[0], whole.split(END)[1]
    with replacing(readme) as path:
        path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    os.chmod(readme, READABLE)


def write_results(rows: Path, out: Path, figures: Path | None = None, readme: Path | None = None) -> Path:
    """Write `out` from the rows of a folder; figures and the README's tables too where they are asked for.

    Raises
    ------
    RunError
        When the folder holds no rows, or the README no marks.
    """
    tables = read_tables(rows)
    if not any(tables.values()):
        raise RunError("a folder with the benchmarks' raw rows", "none", "measure first: miracl benchmark robustness")
    drawn = write_figures(tables, figures, load_portraits(rows)) if figures is not None else {}
    links = {Path(os.path.relpath(path, out.parent)).as_posix(): told for path, told in drawn.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as path:
        path.write_text(results_markdown(tables, links), encoding="utf-8")
    os.chmod(out, READABLE)
    if readme is not None:
        near = {Path(os.path.relpath(path, readme.parent)).as_posix(): told for path, told in drawn.items()}
        put_in_readme(short_tables(tables, figures=near), readme)
    return out
