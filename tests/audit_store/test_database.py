"""What a store does around a transaction, on either database."""

import pytest
from sqlalchemy import update

from audit_store import tables
from audit_store.ledger import append, head
from audit_store.verify import verify

from .conftest import POSTGRES, Site

pytestmark = pytest.mark.parametrize("backend", ["sqlite", POSTGRES], indirect=True)


def test_a_head_that_was_given_up_is_not_mirrored_by_a_later_write(site: Site) -> None:
    def give_up() -> None:
        with site.store.writing() as connection:
            append(connection, "test", "ann", {})
            raise RuntimeError("power cut")

    before = head(site.store)
    with pytest.raises(RuntimeError):
        give_up()
    with site.store.writing() as connection:  # on the same connection; appends nothing
        connection.execute(update(tables.session).values(ended=True))
    assert head(site.store) == before
    assert verify(site.store) == []
