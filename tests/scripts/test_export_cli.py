"""The verb export as it is typed: what it writes, and each wrong word in one line."""

import json
from pathlib import Path

import pytest

from audit_store.protocol import Terms
from scripts.benchmarks.trust_site import make_place
from scripts.cli import app, guarded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export") / "ward"
    return make_place(place, stays=50, reviewers=1, terms=Terms(batch_size=10), seed=1).folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = guarded(lambda standalone_mode: app([str(word) for word in words], standalone_mode=standalone_mode))
    said = capsys.readouterr()
    return status, " ".join((said.out + said.err).split())


def test_forms_and_formats_are_chosen_with_commas_and_the_end_says_what_to_fill_in(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = run(
        capsys,
        "export",
        "-w",
        folder,
        "--forms",
        "long, wide",
        "--formats",
        "parquet",
        "--reads",
        "--author",
        "Doe, Jane",
    )
    assert status == 0, said
    assert "Wrote CITATION.cff, DATA_CARD.md, labels_long.parquet, labels_wide.parquet, manifest.json, reads in" in said
    assert "To fill in in CITATION.cff: doi, once there is one; license" in said
    body = json.loads((folder / "exports" / "export-0001" / "manifest.json").read_text())
    assert (body["forms"], body["actor"]) == (["long", "wide"], "operator")
    assert 'family-names: "Doe"' in (folder / "exports" / "export-0001" / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--forms", "long,excel"), "got long, excel"),
        (("--forms", " , "), "got none"),
        (("--formats", "xlsx"), "formats of csv, parquet"),
        (("--doi", "10.1234/x"), "add --reads, or leave these out"),
        (("--reads", "--doi", "https://doi.org/10.1234/x"), "a DOI such as"),
        (("--val-patients", "nowhere.csv"), "nowhere.csv as a CSV file"),
        (("--forms", "flexcare"), "patients with subject numbers"),
    ],
)
def test_a_wrong_word_is_one_line_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    before = sorted(path.name for path in (folder / "exports").iterdir())
    status, told = run(capsys, "export", "-w", folder, *words)
    assert (status, said in told) == (2, True), told
    assert "Traceback" not in told
    assert sorted(path.name for path in (folder / "exports").iterdir()) == before
