"""Invented ICU patients with a known truth, written as a cohort."""

from core.cohort.sources.synthetic.build import build_synthetic
from core.cohort.sources.synthetic.config import NoiseSpec, SyntheticConfig

__all__ = ["NoiseSpec", "SyntheticConfig", "build_synthetic"]
