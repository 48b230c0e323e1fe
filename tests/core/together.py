"""One of several processes that train a tiny cohort's round together; started by the tests, as torchrun would.

python -m tests.core.together COHORT RUN PRESET
"""

import sys
from pathlib import Path

import torch

from core.cohort.store import open_cohort
from core.config import make_config
from core.training import train_round

OPTIONS = {
    "model.hidden": 16,
    "model.ffn": 32,
    "model.experts": 4,
    "model.dropout": 0.0,
    "model.lstm_dropout": 0.0,
    "optim.batch": 15,  # not a multiple of two: a share is filled up
    "optim.epochs": 4,
    "optim.warm_up": 2,
    "correction.leave_alone": False,
}


def main(cohort: str, run: str, preset: str) -> None:
    """Train without dropout and without noise on the gates, so that nothing depends on who draws what."""
    torch.set_num_threads(1)
    torch.randn_like = torch.zeros_like
    config = make_config(preset, "compact", **OPTIONS)
    train_round(open_cohort(Path(cohort)), Path(run), config, round_id=1, device="cpu")


if __name__ == "__main__":
    main(*sys.argv[1:])
