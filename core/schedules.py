"""How learning rate, β, weight decay and α move over the epochs: pure functions of the 1-based epoch."""

import math

COSINE_PERIOD = 10  # epochs from the first rate down to zero; paper A.5.1 (T_max)


def learning_rate(epoch: int, base: float, scheduler: str, epochs: int) -> float:
    """Learning rate of an epoch.

    ``cosine10``: base/2 · (1 + cos(π(t-1)/10)), which reaches exactly 0 at t = 11 and comes back up to `base` at
    t = 21 [paper A.5.1, released code]. ``cosine30``: the same over the whole run (30 epochs in the paper's), falling
    only. ``warm_restart10``: falls over ten epochs, then starts again at `base`. ``constant``: `base`.

    Parameters
    ----------
    epoch
        t, 1-based.
    base
        Rate in epoch 1.
    scheduler
        One of the four names.
    epochs
        T.
    """
    if scheduler == "constant":
        return base
    step, period = epoch - 1, COSINE_PERIOD
    if scheduler == "cosine30":
        period = max(epochs, 1)
    elif scheduler == "warm_restart10":
        step %= COSINE_PERIOD
    return 0.5 * base * (1.0 + math.cos(math.pi * step / period))


def beta(epoch: int, origin: str, final: float, warm_up: int, epochs: int) -> float:
    """β_t, weight of the corrected labels in the loss (Eq. 11).

    ``global`` (released code): 1 - (1 - final)·t/(T + 1), hence .90323 at t = 6 and .51613 at t = 30 of 30.
    ``correction_start`` (the paper's two end values): 1 at t = t_warm + 1, falling linearly to `final` at T.

    Notes
    -----
    The paper says that β "increases linearly" from 1 to .5; the values are right, the word is not.
    """
    if origin == "global":
        return 1.0 - (1.0 - final) * epoch / (epochs + 1)
    span = epochs - warm_up - 1
    return 1.0 if span <= 0 else 1.0 - (1.0 - final) * max(epoch - warm_up - 1, 0) / span


def weight_decay(epoch: int, warm_up: int, value: float, start: str = "correction") -> float:
    """Coupled L2 of an epoch: `value` after the warm-up (paper A.5.1), or from the first epoch (``start="first"``)."""
    return value if start == "first" or epoch > warm_up else 0.0
