"""Pretrained transformers as note encoders: read offline, frozen, run once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.cohort.store import file_digest
from core.errors import ConfigError, RunError
from core.models.notes import NoteConfig, Report, Units, hex_digest

_MODEL_FILES = {".json", ".txt", ".safetensors", ".bin", ".model"}


class FrozenTransformer:
    """A pretrained encoder without training: token outputs, or their mean per passage, as float16.

    No special tokens, truncation at 512, evaluation mode unless `note_dropout` (methods.md B.1). Nothing is asked of
    the network: the files are found in a folder or in the local Hugging Face cache, then read from there.

    Raises
    ------
    ConfigError
        When the files aren't on this machine or aren't a model and a tokenizer.
    """

    def __init__(self, config: NoteConfig, device: str = "auto") -> None:
        import torch

        self.config = config
        self.folder = _local_folder(config.encoder)
        self.weights = _folder_digest(self.folder)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._loaded: tuple[Any, Any] | None = None
        self._dim = 0

    def _parts(self) -> tuple[Any, Any]:
        """Tokenizer and model, loaded at first use."""
        if self._loaded is None:
            self._loaded = _load(self.folder, self.config.encoder)
            model = self._loaded[1].to(self.device)
            model.requires_grad_(False)
            model.train(self.config.note_dropout)
            self._dim = int(model.config.hidden_size)
        return self._loaded

    @property
    def dim(self) -> int:
        """The model's hidden size."""
        if not self._dim:
            self._parts()
        return self._dim

    def digest(self) -> str:
        """Digest of the options and of the model's files."""
        kept = ("encoder", "units", "max_tokens", "note_dropout", "seed", "batch")
        fields = {key: value for key, value in asdict(self.config).items() if key in kept}
        if not self.config.note_dropout:
            del fields["seed"], fields["batch"]
        return hex_digest({**fields, "weights": self.weights})

    def fit(self, texts: Sequence[str]) -> None:
        """Learn nothing: the weights are frozen."""

    def encode(self, texts: Sequence[str], report: Report | None = None) -> Units:
        """Vectors of `texts`: one each, or one a word piece. A text without word pieces gives zeros, or none."""
        import torch

        tokenizer, model = self._parts()
        limit = min(self.config.max_tokens, int(getattr(model.config, "max_position_embeddings", 0) or 1 << 30))
        encoded = tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=limit, return_offsets_mapping=True
        ) if len(texts) else {"input_ids": [], "offset_mapping": []}  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        per_token = self.config.units == "tokens"
        first = np.concatenate([[0], np.cumsum(lengths)])
        vectors = np.zeros((int(first[-1]) if per_token else len(ids), self.dim), dtype=np.float16)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), torch.inference_mode():
            torch.manual_seed(self.config.seed)
            for begin in range(0, len(order), self.config.batch):
                rows = order[begin : begin + self.config.batch]
                longest = int(lengths[rows].max())
                tokens = np.full((len(rows), longest), pad, dtype=np.int64)
                mask = np.arange(longest)[None, :] < lengths[rows][:, None]
                tokens[mask] = np.concatenate([ids[i] for i in rows])
                given = torch.from_numpy(mask).to(self.device)
                hidden = model(
                    input_ids=torch.from_numpy(tokens).to(self.device), attention_mask=given.long()
                ).last_hidden_state.float()
                if per_token:
                    flat = hidden[given].cpu().numpy()
                    places = np.concatenate([np.arange(first[i], first[i + 1]) for i in rows])
                    vectors[places] = flat.astype(np.float16)
                else:
                    mean = (hidden * given[..., None]).sum(dim=1) / given.sum(dim=1, keepdim=True)
                    vectors[rows] = mean.cpu().numpy().astype(np.float16)
                if report is not None:
                    report(begin + len(rows), len(order))
        if not per_token:
            ends = np.array([len(text) for text in texts], dtype=np.int32)
            return Units(vectors, np.arange(len(ids), dtype=np.int64), np.zeros_like(ends), ends)
        spans = np.array([span for row in encoded["offset_mapping"] for span in row], dtype=np.int32).reshape(-1, 2)
        return Units(vectors, np.repeat(np.arange(len(ids), dtype=np.int64), lengths), spans[:, 0], spans[:, 1])

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Name and digest of the weights; the weights themselves stay where they are."""
        return {"weights": self.weights, "dim": self.dim}, {}

    def restore(self, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Check that the model on this machine is the one that was used.

        Raises
        ------
        RunError
            When its files differ.
        """
        if fields["weights"] != self.weights:
            raise RunError(
                f"note encoder {self.config.encoder} as it was when the model was trained",
                "other files",
                "put the same version of it on this machine",
            )
        self._dim = int(fields["dim"])


def _unavailable(name: str, came: str) -> ConfigError:
    return ConfigError(
        f"note encoder {name} on this machine",
        came,
        "download it once where there is a network, name a local folder, or choose encoder tfidf",
    )


def _local_folder(name: str) -> Path:
    """Where the model's files lie: a folder, or its snapshot in the local cache; the network is never asked."""
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ConfigError(
            "transformers for a note encoder other than tfidf", "no such package", "install miracl-audit[train]"
        ) from None
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        raise _unavailable(name, "neither a folder nor a model in the local cache") from None


def _folder_digest(folder: Path) -> str:
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _MODEL_FILES)
    return hex_digest({path.name: file_digest(path) for path in files})


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and reports, and put its settings back."""
    from transformers.utils import logging as its_logging

    logging: Any = its_logging
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load(folder: Path, name: str) -> tuple[Any, Any]:
    """Tokenizer and model from a folder, weights in float32."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    except Exception:  # what foreign files make the library raise is not bounded; all of it means the same
        raise _unavailable(name, "files that are not a whole model and tokenizer") from None
    if not getattr(tokenizer, "is_fast", False):
        raise _unavailable(name, "a tokenizer without character offsets")
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    return tokenizer, model
