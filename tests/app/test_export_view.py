"""The Export page: nothing to change, one change, a policy that lets the model decide, a store that does not answer."""

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import session
from app.components.export_charts import LABEL_WIDTH, dumbbell_chart
from app.components.export_forms import missing_words
from app.components.export_words import policy_words, threshold_words
from audit_store.decisions import Reading, new_token, record
from audit_store.export_forms import FORMS, unavailable
from audit_store.export_preview import threshold_curve
from audit_store.exports import list_exports
from audit_store.labels import Policy
from audit_store.people import Person, add_person, authenticate, operator
from audit_store.rounds import open_round
from core.cohort.labelset import PHENOTYPES
from tests.app.conftest import page
from tests.app.invented import NAME, PASSWORD, Invented
from tests.app.test_views import words


def person(made: Invented) -> Person:
    return authenticate(made.store, NAME, PASSWORD)


def decide(made: Invented) -> int:
    """One flagged pair is decided against the record; its stay."""
    round_file = open_round(made.store.workspace)
    stay, key, observed = round_file.rows(
        "SELECT stay_id, label_key, observed FROM flag JOIN label USING (label_id) WHERE label_group IS NULL LIMIT 1"
    )[0]
    answer = "absent" if observed else "present"
    record(made.store, person(made), Reading(1, int(stay), str(key), answer), new_token())
    return int(stay)


def test_with_nothing_decided_the_page_says_so_and_offers_no_file(invented: Invented) -> None:
    app = page("export").run()
    assert not app.exception
    said = words(app)
    assert "Nothing yet. Each label stays as recorded" in said
    assert "No export yet" in said
    assert said.count("<h1") == 1


def test_one_decision_is_previewed_without_ids_written_listed_and_checked(invented: Invented) -> None:
    stay = decide(invented)
    app = page("export").run()
    said = words(app)
    assert "What would change: 1 of" in said
    assert f"··{stay % 10_000:04d}" in said
    assert str(stay) not in said
    app.selectbox(key="export_kinds").set_value("CSV").run()
    app.button(key="write").click().run()
    assert not app.exception
    made = list_exports(invented.store)
    assert made[["number", "changed", "complete"]].to_numpy().tolist() == [[1, 1, True]]
    said = words(app)
    assert "Export 1: its manifest" in said
    assert str(invented.folder.parent) not in said
    app.button(key="check_1").click().run()
    assert "All as written." in words(app)
    (invented.store.workspace.exports / "export-0001" / "labels_long.csv").write_text("stay_id\n")
    app.run()
    assert "files missing" in words(app)


def test_letting_the_model_decide_is_warned_of_and_counted(invented: Invented) -> None:
    app = page("export").run()
    app.toggle(key="policy_auto").set_value(True).run()
    app.slider(key="policy_threshold").set_value(0.5).run()
    assert not app.exception
    said = words(app)
    assert "Nobody read these labels" in said
    assert "the model&#x27;s suggestions from suspicion 0.50 on" in said


def test_a_reviewer_may_look_and_neither_write_nor_download(invented: Invented) -> None:
    add_person(invented.store, operator(), "rita", PASSWORD, role="reviewer")
    app = AppTest.from_string(
        "from app import session\nimport streamlit as st\nfrom app.frame import guarded\nfrom app.views import export\n"
        f"if 'session_secret' not in st.session_state:\n    session.sign_in('rita', '{PASSWORD}')\n"
        "guarded(export.render)()\n",
        default_timeout=30,
    ).run()
    assert "needs the steward's role" in words(app)
    assert "write" not in [button.key for button in app.button]


def test_a_store_that_does_not_answer_is_one_line(invented: Invented, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page("export").run()

    def gone() -> session.Context:
        raise OSError("disk /secret/place gone")

    monkeypatch.setattr(session, "context", gone)
    app.run()
    assert not app.exception
    assert "The store did not answer" in words(app)


def test_a_policy_is_a_sentence() -> None:
    assert policy_words(Policy(), calibrated=True) == (
        "Labels change by what readers settled; all others stay as recorded."
    )
    assert policy_words(Policy(0.9, True), calibrated=True) == (
        "Labels change by what readers settled, single answers given as not sure and the model's suggestions from "
        "probability 0.90 on; all others stay as recorded."
    )


def test_a_threshold_above_every_score_says_where_changes_end(invented: Invented) -> None:
    curve = threshold_curve(invented.store, open_round(invented.store.workspace))
    curve.loc[curve["threshold"] > 0.8, ["added", "removed"]] = 0
    curve.loc[curve["threshold"] <= 0.8, "added"] = 2
    assert "changes nothing; the highest value with a change is about 0.80" in threshold_words(curve, 0.95)
    assert threshold_words(curve, 0.6).startswith("From 0.60 on the model changes")


def test_every_form_and_raw_read_that_was_chosen_is_written_and_listed_by_folder(invented: Invented) -> None:
    decide(invented)
    app = page("export").run()
    said = words(app)
    assert "listfile</b>: a row per stay by its id" in said
    offered = app.multiselect(key="export_forms").options
    lacking = unavailable(invented.store, open_round(invented.store.workspace))
    assert offered == [form for form in FORMS if form not in lacking]
    assert lacking
    assert all(form in said.split("This cohort can't give")[1] for form in lacking)
    app.multiselect(key="export_forms").set_value(["wide"]).run()
    app.toggle(key="export_reads").set_value(True).run()
    app.text_input(key="cite_title").set_value("Labels of an invented ward").run()
    app.text_area(key="cite_authors").set_value("Doe, Jane\n\nThe Ward\n").run()
    app.button(key="write").click().run()
    assert not app.exception
    folder = invented.store.workspace.exports / "export-0001"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("CITATION.cff", "DATA_CARD.md", "labels_wide.csv", "labels_wide.parquet", "manifest.json", "reads"),
    ]
    cited = (folder / "CITATION.cff").read_text()
    assert 'title: "Labels of an invented ward"' in cited
    assert 'family-names: "Doe"' in cited
    assert '- name: "The Ward"' in cited
    said = words(app)
    assert "To fill in in CITATION.cff before publishing: doi" in said
    assert "1 of 1 readers" in said
    buttons = [button.label for button in app.get("download_button")]
    assert "reads, 4 files as a ZIP" in buttons
    assert "DATA_CARD.md" in buttons
    app.multiselect(key="export_forms").set_value([]).run()
    assert app.button(key="write").disabled


def test_what_a_cohort_can_t_give_is_said_once_for_forms_that_lack_the_same() -> None:
    assert missing_words({"a": "x", "b": "x", "c": "y"}) == "a and b (need x); c (needs y)"


def test_long_names_of_labels_are_broken_not_cut() -> None:
    frame = pd.DataFrame(
        {
            "name": [label.name for label in PHENOTYPES],
            **dict.fromkeys(("prevalence_before", "prevalence_after"), 0.1),
            "added": 0,
            "removed": 0,
        }
    )
    spec = dumbbell_chart(frame).to_dict()
    shown = [row["shown"] for row in next(iter(spec["datasets"].values()))]
    assert [name.replace("\n", " ") for name in shown] == [label.name for label in PHENOTYPES]
    assert max(len(line) for name in shown for line in name.split("\n")) <= LABEL_WIDTH
    assert max(name.count("\n") for name in shown) == 1
