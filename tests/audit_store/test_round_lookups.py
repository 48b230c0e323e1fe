"""Short ways to what a screen asks of a round say the same as the long ones."""

from collections.abc import Callable

from .conftest import Site


def test_a_stay_s_flagged_labels_are_those_of_its_pairs(make_site: Callable[..., Site]) -> None:
    site = make_site()
    flagged = {stay for stay, _ in site.flags()}
    stays = {int(stay) for (stay,) in site.round.rows("SELECT DISTINCT stay_id FROM pair")}
    assert flagged < stays
    for stay in stays:
        pairs = site.round.pairs_of_stay(stay)
        assert site.round.flagged_labels(stay) == set(pairs.loc[pairs["flagged"], "label_key"])


def test_a_stay_that_the_round_does_not_hold_has_no_flags(make_site: Callable[..., Site]) -> None:
    assert make_site().round.flagged_labels(-1) == frozenset()
