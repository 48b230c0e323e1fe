"""One press, one act: held keys, stale pages and the clock."""

from app.desk import ACROSS, ACTIVE_CAP_SECONDS, HELD_SECONDS, SEEN_SECONDS, Desk, Sheet
from audit_store.queue import Item, QueueFilter


def item(token: str) -> Item:
    return Item(token, 1, 1, 1, ("septicemia",), None, "open")


def desk() -> Desk:
    made = Desk(1, QueueFilter(), [item("one"), item("two")])
    made.sheets = {"one": Sheet("page-one"), "two": Sheet("page-two")}
    for token in ("page-one", "page-two"):
        made.shown(token, 0.0)
    return made


def test_a_press_of_the_page_shown_counts_once() -> None:
    made = desk()
    assert made.accepts("page-one", "answer_present", 10.0)


def test_a_key_held_for_two_seconds_counts_once_even_after_the_page_moved_on() -> None:
    made = desk()
    presses = [10.0 + 0.03 * i for i in range(67)]
    counted = 0
    for at in presses:
        token = made.sheets[made.items[made.at].token].token
        if made.accepts(token, "answer_present", at):
            counted += 1
            made.move(1)
    assert counted == 1


def test_on_a_slow_server_late_presses_of_a_held_key_answer_one_page_alone() -> None:
    made = Desk(1, QueueFilter(), [item(str(i)) for i in range(9)])
    made.sheets = {str(i): Sheet(f"page-{i}") for i in range(9)}
    made.shown("page-0", 0.0)
    at, counted = 5.0, 0
    for _ in range(8):  # each waiting press is taken up as soon as the page before it is drawn, two seconds later
        if made.accepts(f"page-{made.at}", "answer_present", at):
            counted += 1
            made.move(1)
        made.shown(f"page-{made.at}", at + 2.0)
        at += 2.01
    assert counted == 1
    assert made.accepts(f"page-{made.at}", "answer_present", at + SEEN_SECONDS + HELD_SECONDS)


def test_a_page_not_drawn_to_its_end_takes_no_answer_but_may_be_left() -> None:
    made = desk()
    made.drawn.clear()
    assert not made.accepts("page-one", "answer_present", 50.0)
    assert made.accepts("page-one", "move_1", 50.0, seen=False)


def test_a_press_after_the_key_was_let_go_counts_again() -> None:
    made = desk()
    assert made.accepts("page-one", "answer_present", 10.0)
    made.move(1)
    assert made.accepts("page-two", "answer_present", 10.0 + ACROSS * HELD_SECONDS + 0.01)


def test_a_press_with_another_pages_token_never_counts() -> None:
    made = desk()
    assert not made.accepts("page-two", "answer_present", 10.0)
    made.move(2)
    assert made.item is None
    assert not made.accepts("page-two", "answer_absent", 20.0)


def test_another_key_may_follow_at_once() -> None:
    made = desk()
    assert made.accepts("page-one", "answer_present", 10.0)
    assert made.accepts("page-one", "answer_absent", 10.1)


def test_reading_time_adds_up_and_a_break_counts_as_its_cap() -> None:
    made = desk()
    made.touch(100.0)
    made.touch(130.0)
    made.touch(130.0 + 10 * ACTIVE_CAP_SECONDS)
    assert made.sheets["one"].seconds == 30.0 + ACTIVE_CAP_SECONDS


def test_a_clock_that_steps_back_adds_nothing() -> None:
    made = desk()
    made.touch(100.0)
    made.touch(90.0)
    assert made.sheets["one"].seconds == 0.0


def test_moving_stays_between_the_first_item_and_the_closing_page() -> None:
    made = desk()
    made.move(-1)
    assert made.at == 0
    made.move(9)
    assert made.at == 2
    assert made.item is None


def test_bringing_an_item_that_is_in_the_batch_goes_to_it_and_another_is_put_in() -> None:
    made = desk()
    made.bring(item("two"))
    assert (made.at, len(made.items)) == (1, 2)
    made.bring(item("three"))
    assert made.item is not None
    assert made.item.token == "three"
    assert len(made.items) == 3
