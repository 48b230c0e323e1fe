"""Note encoders: fitted on what they are given alone, deterministic, and offline."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import ConfigError, RunError
from core.models.notes import NoteConfig, TfidfSvd, make_encoder

TRAINING = [
    "known hypertension and diabetes",
    "denies diabetes",
    "sepsis on pressors",
    "septic shock on pressors",
    "home oxygen for copd",
]
WORDS = ["[PAD]", "[UNK]", "sepsis", "shock", "on", "press", "##ors", "no", "diabetes", "."]


def tiny_bert(folder: Path, seed: int = 0) -> Path:
    """A two-layer BERT of sixteen units with random weights and ten word pieces."""
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "[CLS]", "[SEP]", "[MASK]"]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(
            BertConfig(
                vocab_size=len(WORDS) + 3,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=24,
            )
        )
    model.save_pretrained(folder)
    return folder


def test_tfidf_of_a_text_is_the_formula_written_out() -> None:
    encoder = TfidfSvd(NoteConfig(dim=3))
    encoder.fit(TRAINING)
    assert "pressors" in encoder.vocabulary
    assert "on pressors" in encoder.vocabulary
    text = "sepsis sepsis on pressors"
    counts = {"sepsis": 2, "on": 1, "pressors": 1, "on pressors": 1, "sepsis on": 1}
    row = np.zeros(len(encoder.vocabulary))
    for term, count in counts.items():
        documents = sum(f" {term} " in f" {t} " for t in TRAINING)
        idf = np.log((1 + len(TRAINING)) / (1 + documents)) + 1
        row[encoder.vocabulary.index(term)] = (1 + np.log(count)) * idf
    projected = encoder.components.astype(float) @ (row / np.linalg.norm(row))
    expected = np.sqrt(3) * projected / np.linalg.norm(projected)
    np.testing.assert_allclose(encoder.encode([text]).vectors[0], expected, rtol=1e-5)


def test_components_are_orthonormal_and_their_largest_entry_is_positive() -> None:
    encoder = TfidfSvd(NoteConfig(dim=4))
    encoder.fit(TRAINING)
    np.testing.assert_allclose(encoder.components @ encoder.components.T, np.eye(4), atol=1e-5)
    largest = np.abs(encoder.components).argmax(axis=1)
    assert (encoder.components[np.arange(4), largest] > 0).all()


def test_fitting_twice_gives_the_same_bytes_and_leaves_the_global_generators_alone() -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    states = []
    for _ in range(2):
        encoder = TfidfSvd(NoteConfig(dim=3))
        encoder.fit(TRAINING)
        states.append((encoder.vocabulary, encoder.encode(TRAINING).vectors.tobytes()))
    assert states[0] == states[1]
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index,union-attr]


def test_short_of_terms_the_width_stays_and_the_last_components_are_zero() -> None:
    encoder = TfidfSvd(NoteConfig(dim=128))
    encoder.fit(["copd", "copd asthma"])
    vectors = encoder.encode(["copd", "nothing known here"]).vectors
    assert vectors.shape == (2, 128)
    assert np.linalg.norm(vectors[0]) == pytest.approx(np.sqrt(128), rel=1e-5)
    assert not vectors[1].any()
    assert not vectors[:, 3:].any()


def test_texts_without_spread_leave_one_component() -> None:
    encoder = TfidfSvd(NoteConfig(dim=3))
    encoder.fit(["sepsis shock"] * 4)
    assert [bool(row.any()) for row in encoder.components] == [True, False, False]


@pytest.mark.parametrize("texts", [[], [". ; !", "a"]])
def test_without_a_single_word_to_learn_every_vector_is_zero(texts: list[str]) -> None:
    encoder = TfidfSvd(NoteConfig(dim=4))
    encoder.fit(texts)
    assert not encoder.encode(["sepsis"]).vectors.any()
    assert encoder.encode([]).vectors.shape == (0, 4)


def test_rare_terms_are_left_out_once_the_corpus_is_large() -> None:
    encoder = TfidfSvd(NoteConfig(dim=2))
    assert [encoder.min_df(n) for n in (10, 199, 200, 9_000, 100_000)] == [1, 1, 2, 2, 20]
    encoder.fit(["sepsis shock"] * 250 + ["solitary words here"])
    assert encoder.vocabulary == ["sepsis", "sepsis shock", "shock"]


def test_the_most_frequent_terms_are_kept_when_there_are_too_many() -> None:
    encoder = TfidfSvd(NoteConfig(dim=2, max_terms=2))
    encoder.fit(["sepsis", "sepsis", "sepsis copd", "copd", "asthma"])
    assert encoder.vocabulary == ["copd", "sepsis"]


def test_a_restored_tfidf_encoder_gives_the_same_vectors() -> None:
    encoder = TfidfSvd(NoteConfig(dim=3))
    encoder.fit(TRAINING)
    other = TfidfSvd(NoteConfig(dim=3))
    fields, arrays = encoder.state()
    other.restore(json.loads(json.dumps(fields)), arrays)
    assert np.array_equal(other.encode(TRAINING).vectors, encoder.encode(TRAINING).vectors)


def test_mean_pooling_averages_real_word_pieces_without_special_tokens(tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = tiny_bert(tmp_path / "bert")
    encoder = make_encoder(NoteConfig(encoder=str(folder)), "cpu")
    texts = ["sepsis on pressors .", "shock"]
    vectors = encoder.encode(texts).vectors
    model = AutoModel.from_pretrained(str(folder)).eval()
    with torch.inference_mode():
        alone = model(input_ids=torch.tensor([[2, 4, 5, 6, 9]])).last_hidden_state[0].mean(dim=0)
        short = model(input_ids=torch.tensor([[3]])).last_hidden_state[0, 0]
    assert vectors.dtype == np.float16
    assert encoder.dim == 16
    np.testing.assert_allclose(vectors[0], alone.numpy(), atol=2e-3)
    np.testing.assert_allclose(vectors[1], short.numpy(), atol=2e-3)


def test_token_units_carry_spans_that_slice_to_the_words(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert")
    encoder = make_encoder(NoteConfig(encoder=str(folder), units="tokens"), "cpu")
    texts = ["no  sepsis", "", "on pressors"]
    units = encoder.encode(texts)
    pieces = [
        texts[t][a:b] for t, a, b in zip(units.text.tolist(), units.start.tolist(), units.end.tolist(), strict=True)
    ]
    assert pieces == ["no", "sepsis", "on", "press", "ors"]
    assert units.text.tolist() == [0, 0, 2, 2, 2]


def test_long_texts_are_cut_at_the_models_positions(tmp_path: Path) -> None:
    encoder = make_encoder(NoteConfig(encoder=str(tiny_bert(tmp_path / "bert")), units="tokens"), "cpu")
    assert len(encoder.encode(["sepsis " * 100]).vectors) == 24


def test_a_text_without_word_pieces_is_zeros_among_passages(tmp_path: Path) -> None:
    encoder = make_encoder(NoteConfig(encoder=str(tiny_bert(tmp_path / "bert"))), "cpu")
    vectors = encoder.encode(["", "sepsis"]).vectors
    assert not vectors[0].any()
    assert vectors[1].any()


def test_frozen_means_evaluation_mode_and_note_dropout_is_drawn_from_its_seed(tmp_path: Path) -> None:
    folder = str(tiny_bert(tmp_path / "bert"))
    texts = ["sepsis on pressors", "no diabetes"]
    state = torch.random.get_rng_state()
    plain = make_encoder(NoteConfig(encoder=folder), "cpu").encode(texts).vectors
    assert np.array_equal(plain, make_encoder(NoteConfig(encoder=folder), "cpu").encode(texts).vectors)
    dropped = [
        make_encoder(NoteConfig(encoder=folder, note_dropout=True, seed=s), "cpu").encode(texts).vectors
        for s in (1, 1, 2)
    ]
    assert np.array_equal(dropped[0], dropped[1])
    assert not np.array_equal(dropped[0], dropped[2])
    assert not np.array_equal(dropped[0], plain)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_digest_follows_weights_and_options_that_matter(tmp_path: Path) -> None:
    one = str(tiny_bert(tmp_path / "a", seed=0))
    same = make_encoder(NoteConfig(encoder=one), "cpu").digest()
    assert make_encoder(NoteConfig(encoder=one, batch=7), "cpu").digest() == same
    assert make_encoder(NoteConfig(encoder=one, units="tokens"), "cpu").digest() != same
    assert make_encoder(NoteConfig(encoder=one, note_dropout=True), "cpu").digest() != same
    encoder = make_encoder(NoteConfig(encoder=one), "cpu")
    fields, arrays = encoder.state()
    tiny_bert(tmp_path / "a", seed=1)
    changed = make_encoder(NoteConfig(encoder=one), "cpu")
    assert changed.digest() != same
    with pytest.raises(RunError, match="other files"):
        changed.restore(fields, arrays)


def test_an_absent_model_is_one_line_and_the_environment_is_left_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    for name in ("no-one/no-such-model", "not a name at all"):
        with pytest.raises(ConfigError, match="on this machine") as caught:
            make_encoder(NoteConfig(encoder=name), "cpu")
        assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="not a whole model"):
        _ = make_encoder(NoteConfig(encoder=str(tmp_path / "empty")), "cpu").dim
    assert dict(os.environ) == before


def test_loading_a_model_leaves_transformers_settings_as_they_were(tmp_path: Path) -> None:
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    _ = make_encoder(NoteConfig(encoder=str(tiny_bert(tmp_path / "bert"))), "cpu").dim
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize(
    "wrong", [{"units": "words"}, {"units": "tokens"}, {"dim": 0}, {"min_df_share": 2.0}, {"max_tokens": 0}]
)
def test_note_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        NoteConfig(**wrong)  # type: ignore[arg-type]
