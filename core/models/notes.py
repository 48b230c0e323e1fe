"""Note encoders: text in, frozen vectors out, run once.

Two families behind one protocol. ``tfidf``: word 1–2-grams, sublinear counts, truncated SVD, fitted on training
passages alone; needs no download. Any other name: a Hugging Face model or a local folder (the paper's is BioBERT),
frozen, read offline, mean-pooled per passage or kept per token.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from core.errors import ConfigError
from core.hints import Float, Int

Report = Callable[[int, int], None]

# A singular value below this share of the largest is rounding: its vector is arbitrary and is left out.
_NO_SPREAD = 1e-7


@dataclass(frozen=True)
class NoteConfig:
    """How passages become vectors.

    Parameters
    ----------
    encoder
        ``tfidf``, a Hugging Face name, or a local folder. The paper's is ``dmis-lab/biobert-base-cased-v1.2``.
    dim
        Components of the SVD; 128 as the backbone's width (methods.md B.2). A transformer has its own width.
    seed
        Of the SVD's start and of `note_dropout`.
    units
        ``passages`` (one vector a passage) or ``tokens`` (one a word piece, the paper's form; transformers only).
    max_tokens
        Word pieces read of a text, and kept of a stay in ``tokens``; 512 in the paper.
    note_dropout
        Leave the frozen encoder's dropout on, as the released code does (A.11 row 34). Drawn once, since vectors are
        kept; the released code draws anew each epoch.
    min_df_share
        A term must stand in this share of the training passages, and in at least two of them.
    max_terms
        Terms kept, the most frequent ones.
    svd_rounds
        Power iterations of the randomised SVD (Halko et al. 2011).
    small_corpus
        Below this many training passages a single passage is enough for a term.
    batch
        Texts that the transformer reads at a time; changes no vector but the last digits.
    """

    encoder: str = "tfidf"
    dim: int = 128
    seed: int = 0
    units: str = "passages"
    max_tokens: int = 512
    note_dropout: bool = False
    min_df_share: float = 2e-4
    max_terms: int = 50_000
    small_corpus: int = 200
    svd_rounds: int = 5
    batch: int = 32

    def __post_init__(self) -> None:
        if self.units not in ("passages", "tokens"):
            raise ConfigError("note units passages or tokens", self.units, "choose one of them")
        if self.encoder == "tfidf" and self.units == "tokens":
            raise ConfigError(
                "a transformer for note units = tokens", "encoder tfidf", "choose units = passages or name a model"
            )
        for name in ("dim", "max_tokens", "max_terms", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of 1 or more", str(getattr(self, name)), "mend the note options")
        if not 0 <= self.min_df_share <= 1:
            raise ConfigError("min_df_share in [0, 1]", str(self.min_df_share), "mend the note options")


@dataclass(frozen=True)
class Units:
    """Vectors of some texts.

    Parameters
    ----------
    vectors
        float32 (tfidf) or float16 (transformer) [M, D].
    text
        int64 [M], ascending: place of the unit's text among those given.
    start, end
        int32 [M]: half-open code points within that text.
    """

    vectors: Float[np.ndarray, "units dim"]
    text: Int[np.ndarray, " units"]
    start: Int[np.ndarray, " units"]
    end: Int[np.ndarray, " units"]


@runtime_checkable
class NoteEncoder(Protocol):
    """What an encoder does; the state it fits can be kept as JSON and arrays, never as a pickle."""

    def digest(self) -> str:
        """Tell what the vectors depend on besides the texts: kind, options, weights; in hex."""
        ...

    def fit(self, texts: Sequence[str]) -> None:
        """Learn from training passages."""
        ...

    def encode(self, texts: Sequence[str], report: Report | None = None) -> Units:
        """Give the vectors of `texts`."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Give what `restore` needs."""
        ...

    def restore(self, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take up a state."""
        ...


def hex_digest(fields: dict[str, Any]) -> str:
    """BLAKE2b-256 of JSON-able fields, in hex."""
    return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=32).hexdigest()


class TfidfSvd:
    """Latent semantic vectors: x = V·(tf-idf row), scaled to length √dim.

    tf = 1 + ln(count); idf = ln((1+n)/(1+df)) + 1; rows have length 1 before the projection. V holds the right
    singular vectors, each with its entry of largest magnitude positive. A text without a known term is all zeros.
    """

    def __init__(self, config: NoteConfig) -> None:
        self.config = config
        self.vocabulary: list[str] = []
        self.idf = np.zeros(0)
        self.components = np.zeros((config.dim, 0), dtype=np.float32)

    @property
    def dim(self) -> int:
        """Components kept; short of terms, the last ones are zero."""
        return self.config.dim

    def digest(self) -> str:
        """Digest of the options."""
        kept = ("encoder", "dim", "seed", "min_df_share", "max_terms", "small_corpus", "svd_rounds")
        return hex_digest({key: value for key, value in asdict(self.config).items() if key in kept})

    def min_df(self, n_texts: int) -> int:
        """Passages a term must stand in, given the number of training passages."""
        if n_texts < self.config.small_corpus:
            return 1
        return max(2, math.ceil(self.config.min_df_share * n_texts))

    def fit(self, texts: Sequence[str]) -> None:
        """Choose terms, their weights and the projection from training passages."""
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.utils.extmath import randomized_svd

        counter = CountVectorizer(ngram_range=(1, 2))
        grams = counter.build_analyzer()
        if not any(grams(text) for text in texts):
            self.vocabulary, self.idf = [], np.zeros(0)
            self.components = np.zeros((self.config.dim, 0), dtype=np.float32)
            return
        counts = counter.set_params(max_features=None).fit_transform(texts)
        documents = np.asarray((counts > 0).sum(axis=0)).ravel()
        total = np.asarray(counts.sum(axis=0)).ravel()
        names = counter.get_feature_names_out()
        floor = min(self.min_df(len(texts)), int(documents.max()))
        often = np.flatnonzero(documents >= floor)
        often = often[np.lexsort((names[often], -total[often]))][: self.config.max_terms]
        chosen = np.sort(often)
        self.vocabulary = [str(name) for name in names[chosen]]
        self.idf = np.log((1 + len(texts)) / (1 + documents[chosen])) + 1.0
        rows = self._weighted(counts[:, chosen].astype(np.float64))
        rank = min(self.config.dim, *rows.shape)
        _, sizes, vectors = randomized_svd(rows, rank, n_iter=self.config.svd_rounds, random_state=self.config.seed)
        largest = vectors[np.arange(rank), np.abs(vectors).argmax(axis=1)]
        real = sizes > sizes[0] * _NO_SPREAD
        self.components = np.zeros((self.config.dim, len(chosen)), dtype=np.float32)
        self.components[:rank] = vectors * (np.where(largest < 0, -1.0, 1.0) * real)[:, None]

    def _weighted(self, counts: Any) -> Any:
        """Turn counts into tf-idf rows of length 1."""
        from sklearn.preprocessing import normalize

        rows = counts.tocsr().copy()
        rows.data = 1.0 + np.log(rows.data)
        return normalize(rows.multiply(self.idf[None, :]).tocsr())

    def encode(self, texts: Sequence[str], report: Report | None = None) -> Units:
        """Vectors of `texts`, one each; float32 of length √dim, or zero."""
        from sklearn.feature_extraction.text import CountVectorizer

        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        if self.vocabulary and len(texts):
            terms = {term: i for i, term in enumerate(self.vocabulary)}
            counter = CountVectorizer(ngram_range=(1, 2), vocabulary=terms)
            step = 1 << 14
            for begin in range(0, len(texts), step):
                part = texts[begin : begin + step]
                rows = self._weighted(counter.transform(part).astype(np.float64))
                projected = np.asarray(rows @ self.components.T.astype(np.float64))
                length = np.linalg.norm(projected, axis=1, keepdims=True)
                scale = np.divide(math.sqrt(self.dim), length, out=np.zeros_like(length), where=length > 1e-9)
                vectors[begin : begin + step] = projected * scale
                if report is not None:
                    report(min(begin + step, len(texts)), len(texts))
        places = np.arange(len(texts), dtype=np.int64)
        ends = np.array([len(text) for text in texts], dtype=np.int32)
        return Units(vectors, places, np.zeros_like(ends), ends)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Vocabulary as JSON; weights and projection as arrays."""
        return {"vocabulary": self.vocabulary}, {"idf": self.idf, "components": self.components}

    def restore(self, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take up vocabulary, weights and projection; ValueError, KeyError or TypeError where they don't fit."""
        vocabulary, idf, components = fields["vocabulary"], np.asarray(arrays["idf"]), np.asarray(arrays["components"])
        terms = len(vocabulary)
        if not all(isinstance(term, str) for term in vocabulary) or len(set(vocabulary)) < terms:
            raise ValueError("terms that are no texts, or not each once")
        if idf.shape != (terms,) or components.shape != (self.config.dim, terms):
            raise ValueError("arrays of another size than the vocabulary")
        self.vocabulary, self.idf, self.components = list(vocabulary), idf, components


def make_encoder(config: NoteConfig, device: str = "auto") -> NoteEncoder:
    """Give the encoder that `config` names.

    Raises
    ------
    ConfigError
        When a transformer isn't on this machine.
    """
    if config.encoder == "tfidf":
        return TfidfSvd(config)
    from core.models.frozen import FrozenTransformer

    return FrozenTransformer(config, device)
