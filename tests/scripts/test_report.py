"""The benchmark's tables against figures worked out by hand from invented rows."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from core.config import make_config
from core.errors import RunError
from core.metrics.compare import paired_test, welch_test
from core.noise.settings import HOSPITAL, SEVEN
from scripts.benchmarks.measures import measures
from scripts.benchmarks.methods import METHODS
from scripts.benchmarks.report import ablation_markdown, cost_markdown, robustness_markdown
from scripts.benchmarks.report_finding import detection_markdown, repair_markdown
from scripts.benchmarks.results import BEGIN, END, put_in_readme, results_markdown, short_tables, write_results
from scripts.benchmarks.rows import write_rows
from scripts.benchmarks.standing import behind, gap_closed, patient_interval, standings, with_best_epoch
from scripts.benchmarks.tables import courses, figure, p_value, plus_minus
from tests.scripts.benchmark_rows import row, runs

CLEAN, NOISY = [0.50, 0.52], [0.40, 0.42]
SPOILT = {
    "accuracy_before": 0.8, "accuracy_after": 0.79, "wrong_before": 200, "wrong_after": 210,
    "repaired_positive": 30, "harmed_positive": 5, "repaired_negative": 0, "harmed_negative": 35,
}  # fmt: skip
"""Of 1,000 labels ten more are wrong afterwards: 25 fewer of those recorded present, 35 more of the others."""


def a_table():
    return [
        *runs("bce", "clean", CLEAN, map_best=0.53),
        *runs("bce", "sym20", NOISY, map_best=0.45),
        *runs("gce", "sym20", [0.41, 0.43]),
        *runs("calibrated", "sym20", [0.46, 0.49], **SPOILT),
        *runs("regression", "sym20", [0.47, 0.48]),
    ]


def cells(markdown, first):
    """Cells of the first line whose first cell this is."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_figures_are_spelled_without_a_leading_zero_and_never_rounded_to_nothing():
    assert [figure(0.4231), figure(-0.05, 2), figure(1.0, 2), figure(-0.0001), figure(None), figure(float("nan"))] == [
        ".423", "−.05", "1.00", ".000", "–", "–",
    ]  # fmt: skip
    assert [p_value(p) for p in (0.5, 0.0312, 0.00123, 2.1e-7, 0.0, float("nan"))] == [
        ".50", ".031", ".0012", "2.1e-07", "< 1e-300", "–",
    ]  # fmt: skip


def test_a_cell_says_mean_and_deviation_and_how_many_runs_where_some_are_missing():
    assert plus_minus([0.4, 0.42]) == ".410 ± .014"
    assert plus_minus([0.4]) == ".400"
    assert plus_minus([]) == "–"
    assert plus_minus([0.4], runs=3) == ".400 (1)"
    assert plus_minus([0.4, 0.42], runs=2) == ".410 ± .014"


def test_the_share_of_the_gap_is_the_share_of_what_noise_cost_the_backbone():
    rows = a_table()
    # .475 - .41 of .51 - .41
    assert gap_closed(rows, "calibrated", "sym20") == pytest.approx(0.65)
    assert gap_closed(rows, "bce", "sym20") == 0
    assert math.isnan(gap_closed(rows, "calibrated", "fp20"))
    assert math.isnan(gap_closed([r for r in rows if r["noise"] != "clean"], "calibrated", "sym20"))
    no_gap = [
        *runs("bce", "clean", [0.5, 0.5]),
        *runs("bce", "sym20", [0.499, 0.498]),
        *runs("gce", "sym20", [0.5, 0.5]),
    ]
    assert math.isnan(gap_closed(no_gap, "gce", "sym20"))


def test_the_gap_is_measured_on_seeds_that_all_three_have():
    rows = [*a_table(), *runs("calibrated", "sym20", [0.0] * 3)[2:]]
    assert gap_closed(rows, "calibrated", "sym20") == pytest.approx(0.65)


def test_robustness_shows_means_the_oracle_apart_chance_and_the_gap():
    text = robustness_markdown(a_table())
    assert "### Synthetic cohort, 4,000 stays, compact size, 30 epochs" in text
    assert cells(text, "BCE (FlexCare backbone)")[:2] == ["**.510 ± .014**", ".410 ± .014"]
    assert cells(text, "MIRACL Audit, calibrated")[:2] == ["–", "**.475 ± .021**"]
    assert cells(text, "BCE at its best epoch †") == [".530 ± .000", ".450 ± .000"]
    assert cells(text, "chance (mean prevalence)") == [".180", ".180"]
    gap = text[text.index("Share of the gap") :]
    assert cells(gap, "GCE") == [".10"]
    assert "10 runs; seeds 0, 1; CPU (A processor; torch 2.13.0" in text
    assert "***" not in text  # bold alone: no stars for p values


def test_an_oracle_is_neither_in_bold_nor_a_rival():
    rows = a_table()
    for each in rows:
        each["map_best"] = 0.9
    text = robustness_markdown(rows)
    assert cells(text, "BCE at its best epoch †")[1] == ".900 ± .000"
    assert "bce_best_epoch" not in text
    (held,) = standings(with_best_epoch(rows), "calibrated", ["bce", "gce"], ["sym20"])
    assert held.rival == "gce"


def test_the_second_best_is_tested_welch_and_paired_with_holm():
    rows = [
        *a_table(),
        *runs("calibrated", "fp20", [0.45, 0.47, 0.46]),
        *runs("bce", "fp20", [0.44, 0.455, 0.455]),
        *runs("gce", "fp20", [0.3, 0.3, 0.3]),
    ]
    first, second = standings(rows, "calibrated", ["bce", "gce"], ["sym20", "fp20"])
    assert (first.rival, second.rival) == ("gce", "bce")
    assert first.welch == welch_test([0.46, 0.49], [0.41, 0.43])
    assert second.paired == paired_test([0.45, 0.47, 0.46], [0.44, 0.455, 0.455])
    low, high = sorted([first.welch.p, second.welch.p])
    assert sorted([first.welch_holm, second.welch_holm]) == pytest.approx([2 * low, max(2 * low, high)])
    text = robustness_markdown(rows)
    tests = text[text.index("against the best of the other networks") :]
    assert cells(tests, "symmetric .2")[:4] == ["GCE", "2", ".0550", p_value(first.welch.p)]
    against = text[text.index("against logistic regression") :]
    assert cells(against, "symmetric .2")[:3] == ["logistic regression", "1", ".0000"]


def test_a_rival_that_lacks_seeds_is_held_against_the_same_seeds():
    """Its one run is above the mean of the other's three, and below the run of its own seed."""
    rows = [*runs("calibrated", "sym20", [0.50, 0.40, 0.42]), *runs("gce", "sym20", [0.46])]
    (held,) = standings(rows, "calibrated", ["gce"], ["sym20"])
    assert held.own.mean - held.other.mean == pytest.approx(0.04)
    rows += runs("bce", "sym20", [0.47, 0.39, 0.41])
    (held,) = standings(rows, "calibrated", ["gce", "bce"], ["sym20"])
    assert held.rival == "bce", "nearer: .0167 behind, seed by seed"
    found = [
        *detections("calibrated", "error_probability", "sym20", [0.7, 0.5, 0.5]),
        *detections("bce", "aum", "sym20", [0.6]),
    ]
    seven = next(
        m for m in measures({"detection": found}, "synthetic-4000", "compact") if m.asked.startswith("highest average")
    )
    assert seven.came == "1 of 1"


def test_the_readme_s_bold_is_the_highest_of_all_methods_and_that_one_is_listed():
    rows = [*a_table(), *runs("mllsc", "clean", [0.7, 0.7]), *runs("calibrated", "clean", [0.6, 0.6])]
    text = short_tables({"robustness": rows})
    assert cells(text, "MLLSC") == ["**.700**", "–"]
    assert cells(text, "MIRACL Audit, calibrated") == [".600", "**.475**"]


def test_behind_names_whom_it_is_significantly_behind():
    rows = [*runs("calibrated", "sym20", [0.40, 0.41, 0.40, 0.41]), *runs("gce", "sym20", [0.45, 0.46, 0.46, 0.46])]
    assert behind(rows, "calibrated", ["gce"], ["sym20"], 0.05) == ["sym20: gce"]
    assert behind(rows, "gce", ["calibrated"], ["sym20"], 0.05) == []


def test_intervals_over_patients_pair_replicates_of_one_seed():
    draws = np.linspace(0.3, 0.5, 200)
    mine = [row(method="calibrated", seed=s, map=0.4, bootstrap=(draws + 0.01 * s).tolist()) for s in range(2)]
    theirs = [row(method="bce", seed=s, map=0.4, bootstrap=(draws - 0.02 + 0.01 * s).tolist()) for s in range(2)]
    assert patient_interval(mine, theirs) == pytest.approx((0.02, 0.02))
    # 2.5 % and 97.5 % of .305 to .505 are .310 and .500; moved from their mean, .405, to the figure, .4
    assert patient_interval(mine) == pytest.approx((0.305, 0.495))
    assert all(map(math.isnan, patient_interval([row(map=0.4)])))


def test_a_correction_that_leaves_fewer_right_labels_is_marked():
    text = robustness_markdown(a_table())
    labels = text[text.index("Right labels") :]
    assert cells(labels, "as recorded")[-1] == ".8000"
    assert cells(labels, "MIRACL Audit, calibrated")[-1] == ".7900 ↓2"
    by_class = text[text.index("by what was recorded**, mean over seeds") :]
    present, absent = [line for line in by_class.splitlines() if line.startswith("| MIRACL Audit, calibrated |")][:2]
    assert present.endswith("| present | – | 25 |")
    assert absent.endswith("| absent | – | −35 ↓2 |")


def test_a_share_that_differs_in_its_last_bit_alone_is_no_loss():
    """1 - 200/1000 and the mean of 800 rights among 1,000 are not the same fraction."""
    kept = {**SPOILT, "wrong_after": 200, "accuracy_after": math.nextafter(0.8, 0)}
    assert "↓" not in cells(robustness_markdown(runs("bce", "sym20", NOISY, **kept)), "as recorded")[-1]
    text = robustness_markdown([*runs("bce", "clean", CLEAN), *runs("bce", "sym20", NOISY, **kept)])
    labels = text[text.index("Right labels") :]
    assert cells(labels, "BCE (FlexCare backbone)")[-1] == ".8000"


def test_rows_that_do_not_compare_stand_in_tables_of_their_own_and_old_versions_in_none():
    rows = [*a_table(), row(cohort="eicu-demo", map=0.3, chance=0.1), row(epochs=5, map=0.2), row(version="0", map=0.9)]
    found = courses(rows)
    assert [(c.cohort, c.epochs, len(r)) for c, r in found.items()] == [
        ("synthetic-4000", 30, 10), ("synthetic-4000", 5, 1), ("eicu-demo", 30, 1),
    ]  # fmt: skip
    assert "recorded labels, themselves noisy" in robustness_markdown(rows)


def test_methods_near_chance_and_rows_of_other_options_are_told():
    rows = [
        *a_table(),
        *runs("focal", "sym20", [0.19, 0.2]),
        row(method="gce", seed=2, map=0.42, chance=0.18, options="0b"),
    ]
    text = robustness_markdown(rows)
    assert "Less than .1 above chance: Focal: symmetric .2." in text
    assert "other options than others of the same method: gce" in text


def detections(method, detector, noise, precision, observed_class="positive", n_wrong=10, **given):
    return [
        row("detection", method=method, detector=detector, noise=noise, observed_class=observed_class, n=50,
            n_wrong=n_wrong, average_precision=value, seed=seed, **given)
        for seed, value in enumerate(precision)
    ]  # fmt: skip


def test_detection_is_told_by_observed_class_and_leaves_out_noise_without_errors():
    rows = [
        *detections("bce", "aum", "sym20", [0.5, 0.6]),
        *detections("calibrated", "error_probability", "sym20", [0.7, 0.8]),
        *detections("bce", "aum", "fn20", [None, None], n_wrong=0),
        *detections("bce", "aum", "fn20", [0.2, 0.3], observed_class="negative"),
    ]
    text = detection_markdown(rows)
    present, absent = text.split("recorded absent")
    assert cells(present, "AUM") == [".550 ± .071"]
    assert cells(present, "P(label wrong) (MIRACL Audit, calibrated)") == ["**.750 ± .071**"]
    assert cells(absent, "AUM") == ["**.250 ± .071**"]
    assert "(.2, 0)" not in present


def test_repair_is_told_per_hundred_reviews_and_beside_random_order():
    points = [
        ("method", 500, 400, True),
        ("loss", 500, 300, False),
        ("random", 500, 100, False),
        ("method", 0, 0, True),
    ]
    rows = [
        row("repair", method="calibrated", order=order, reviewed=k, repaired=float(n), wrong_before=2000, pairs=10_000,
            map=0.4 if again else None, retrained=again, wrong_after=1500 if again else None)
        for order, k, n, again in points
    ]  # fmt: skip
    text = repair_markdown(rows)
    assert "order 20.0 errors are removed per 100 reviews" in text
    lines = [line for line in text.splitlines() if line.startswith("| MIRACL Audit")]
    assert len(lines) == 3
    assert "| method | 500 | 80.0 | 4.00 | .400 |" in lines[1]
    assert lines[1].endswith("| .1500 |")
    assert "| loss | 500 | 60.0 | 3.00 |" in lines[2]


def test_cost_is_a_median_ratio_to_the_backbone():
    rows = [
        row(
            "cost",
            method="miracl",
            repeat=k,
            seconds_per_epoch=1.2,
            ratio=ratio,
            own_share=0.015,
            peak_mib=1234.5,
            outside_seconds=7.25,
        )
        for k, ratio in enumerate((1.1, 1.3, 1.15))
    ]
    assert cells(cost_markdown(rows), "MIRACL, class-oriented") == [
        "1.20",
        "1.15",
        "1.10–1.30",
        "1.5 %",
        "7.2",
        "1,234",
    ]


def test_ablation_spells_its_variants():
    rows = [row("ablation", method="full", map=0.44), row("ablation", method="baseline", map=0.4)]
    text = ablation_markdown(rows)
    assert cells(text, "full (class-oriented)") == ["**.440**"]
    assert text.index("backbone alone") < text.index("full (class-oriented)")


def test_measures_are_met_not_met_or_not_measured():
    rows = [
        *a_table(),
        *runs("calibrated", "clean", [0.5, 0.5], wrong_before=0, wrong_after=7),
    ]
    found = {m.asked: m for m in measures({"robustness": rows}, "synthetic-4000", "compact")}
    gap = found["gap closed, symmetric .2: at least .50"]
    assert (gap.came, gap.met) == (".650", True)
    assert found["gap closed, symmetric .4: at least .25"].met is None
    harm = found["no fewer right labels after correction: twelve settings, every seed"]
    assert harm.met is False
    assert harm.came == (
        "least change −10 labels, symmetric .2, seed 0; of those recorded absent −35 labels, symmetric .2, seed 0"
    )
    assert all(m.met is None for m in measures({}, "synthetic-4000", "compact"))


def test_no_harm_is_met_where_every_setting_has_every_seed():
    asked = "no fewer right labels after correction: twelve settings, every seed"
    even = {"wrong_before": 9, "wrong_after": 9}
    every = [r for n in ("clean", *SEVEN, *HOSPITAL) for r in runs("calibrated", n, [0.5, 0.5], **even)]

    def verdict(rows):
        return next(m for m in measures({"robustness": rows}, "synthetic-4000", "compact") if m.asked == asked)

    assert (verdict(every).met, verdict(every).came) == (True, "least change 0 labels, clean, seed 0")
    assert verdict(every[:-1]).met is None, "a seed is missing in one"
    assert verdict(runs("calibrated", "clean", [0.5])).met is None


def test_the_gap_on_the_default_s_course_is_told_beside_the_one_asked_for():
    """.475 - .44 of .54 - .44 on its course, where .65 of the plain network's gap is closed."""
    rows = [*a_table(), *runs("bce_course", "clean", [0.53, 0.55]), *runs("bce_course", "sym20", [0.43, 0.45]),
            *runs("focal_course", "sym20", [0.44, 0.46]), *runs("focal", "sym20", [0.5, 0.5])]  # fmt: skip
    gap = measures({"robustness": rows}, "synthetic-4000", "compact")[0]
    assert (gap.came, gap.met) == (".650 (.35 of BCE's on its course)", True)
    text = robustness_markdown(rows)
    alike = text[text.index("**The same on one course**") :]
    assert cells(alike, "MIRACL Audit, calibrated") == [".35"]
    assert cells(alike, "Focal, the default's course") == [".10"]
    assert cells(alike, "Focal") != [".60"], "trained on its own course: in the table above"
    assert "The same on one course" not in robustness_markdown(a_table())
    assert "of the gap of BCE trained by the default's own optimiser and schedule: symmetric .2 .35" in short_tables(
        {"robustness": rows}
    ).replace("Of the gap", "of the gap")


def test_methods_on_the_default_s_course_have_its_optimiser_and_nothing_else_of_it():
    for name, method in METHODS.items():
        if method.on_course:
            given = make_config(method.preset, "compact", **dict(method.options))
            plain = make_config(method.preset, "compact")
            of_the_method = {"beta_origin": plain.optim.beta_origin}
            assert given.optim == replace(make_config("calibrated", "compact").optim, **of_the_method), name
            assert replace(given, optim=plain.optim) == plain
            assert METHODS[method.preset].version == method.version, name


def test_detectors_of_two_networks_are_two_rows():
    rows = [*detections("bce", "linc", "sym20", [0.5]), *detections("linc", "linc", "sym20", [0.7])]
    text = detection_markdown(rows)
    assert cells(text, "LiNC") == [".500"]
    assert cells(text, "LiNC (its own network)") == ["**.700**"]


def test_a_count_of_settings_is_met_or_lost_before_all_are_measured():
    ahead = [r for n in SEVEN[:5] for r in (*runs("calibrated", n, [0.5, 0.5]), *runs("bce", n, [0.4, 0.4]))]
    asked = "ahead of every other network, in 5 of seven"

    def verdict(rows):
        return next(m.met for m in measures({"robustness": rows}, "synthetic-4000", "compact") if m.asked == asked)

    assert verdict(ahead) is True
    assert verdict(ahead[:16]) is None
    assert verdict([{**r, "map": 0.45} for r in ahead]) is False


def test_detection_is_held_in_each_class_that_has_errors():
    rows = []
    for noise in (*SEVEN, *HOSPITAL):
        classes = {"fp": ("positive",), "fn": ("negative",)}.get(noise[:2], ("positive", "negative"))
        for name in classes:
            own = 0.4 if (noise, name) == ("sym40", "negative") else 0.7
            rows += detections("calibrated", "error_probability", noise, [own], name, auroc=0.81)
            rows += detections("bce", "aum", noise, [0.6], name)
    seven, four = (
        m for m in measures({"detection": rows}, "synthetic-4000", "compact") if m.asked.startswith("highest average")
    )
    assert (seven.came, seven.met) == ("6 of 7; not in symmetric .4", True)
    assert (four.came, four.met) == ("4 of 4", True)


def test_results_are_written_whole_with_measures_figures_and_the_commands(tmp_path):
    tables = {"robustness": a_table(), "detection": detections("bce", "aum", "sym20", [0.5])}
    text = results_markdown(tables, {"figures/map_by_epoch.svg": "Test mAP by epoch"})
    assert text.startswith("# Results\n")
    for part in ("## Measures: synthetic cohort", "`miracl benchmark robustness`", "`miracl benchmark detection`",
                 "\n\nTest mAP by epoch.\n\n![Test mAP by epoch](figures/map_by_epoch.svg)",
                 "Written at commit"):  # fmt: skip
        assert part in text
    assert "## Repair" not in text
    write_rows(tmp_path / "rows", tables)
    out = write_results(tmp_path / "rows", tmp_path / "RESULTS.md")
    assert out.read_text(encoding="utf-8").startswith("# Results\n")
    assert out.stat().st_mode & 0o777 == 0o644


def test_the_readme_keeps_all_but_what_stands_between_the_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    put_in_readme(short_tables({"robustness": a_table()}), readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\nTest mAP against clean labels, last epoch, mean of 2 seeds")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert "old" not in text.replace("bold", "")
    assert cells(text, "MIRACL Audit, calibrated") == ["–", "**.475**"]
    assert "symmetric .2 .65" in text
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(RunError, match="missing or twice"):
        put_in_readme("x", readme)


def test_the_readme_has_real_patients_after_the_invented_ones():
    real = [{**line, "cohort": "eicu-demo"} for line in a_table()]
    text = short_tables({"robustness": [*real, *a_table()]})
    invented, eicu = (
        text.index(part) for part in ("Test mAP against clean labels", "Test mAP against recorded labels")
    )
    assert invented < eicu
    assert "(eICU demo, noise planted in recorded labels, compact size, 30 epochs)" in text[eicu:]
    lifelong = [{**line, "cohort": "eicu-history"} for line in a_table()]
    assert short_tables({"robustness": [*a_table(), *real, *lifelong]}) == text
    assert short_tables({"robustness": real}).count("Test mAP against recorded labels") == 1


def test_the_readme_tells_what_reading_in_order_removes_and_shows_pictures_under_their_tables():
    read = [
        row("repair", method="calibrated", noise=noise, seed=seed, order=order, reviewed=k, repaired=float(n + seed))
        for noise, most in (("sym20", 1799), ("bal20", 1499))
        for seed in (0, 2)
        for order, k, n in (("method", 2000, most), ("loss", 2000, most - 300), ("random", 2000, 399), ("method", 9, 9))
    ]
    other = [row("repair", method="miracl", order="method", reviewed=2000, repaired=1.0)]
    figures = {f".readme/{name}.svg": name for name in ("repair", "map_by_epoch", "precision_recall", "mixtures_bce")}
    text = short_tables({"robustness": a_table(), "repair": [*read, *other]}, figures=figures)
    assert "Errors removed per 100 pairs read, the first 2,000 of each order" in text
    assert "| order | symmetric .2 | balanced .2 |" in text
    assert cells(text, "P(label wrong)") == ["90.0", "75.0"]
    assert cells(text, "loss of the same network") == ["75.0", "60.0"]
    assert cells(text, "at random") == ["20.0", "20.0"]
    assert text.index("Share of the gap") < text.index("![map_by_epoch](.readme/map_by_epoch.svg)")
    assert text.endswith("\n\n![repair](.readme/repair.svg)")
    assert "mixtures_bce" not in text
    assert "precision_recall" not in text, "a picture without its table"
    assert "Errors removed" not in short_tables({"robustness": a_table(), "repair": other})


def test_nothing_measured_makes_no_table_and_no_error():
    for write in (robustness_markdown, detection_markdown, ablation_markdown, repair_markdown, cost_markdown):
        assert write([]) == ""
    assert short_tables({}) == ""
    assert short_tables({"robustness": runs("bce", "stay", NOISY)}) == ""
    assert results_markdown({}).startswith("# Results")
