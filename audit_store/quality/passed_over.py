"""Pairs of the random audit's plan that nobody was given, for the reader who would have been had answered them before.

A label's part of the plan is drawn in its order, and who has answered a pair before is passed over (`batches`). Where
nobody else reads, such a pair would drop out of the sample; what was answered before are flags above all, so the rest
would show too little noise. The earlier answer stands in for it, weighted as the plan has it.
"""

import pandas as pd
import pyarrow.compute as pc

from audit_store.assignments import of_round
from audit_store.database import Store
from audit_store.protocol import current_protocol
from audit_store.round_reader import RoundFile
from audit_store.sampling import ItemKey, group_ids, plan

COLUMNS = ["stay_id", "label_key", "planned_probability"]


def passed_over(store: Store, round_file: RoundFile) -> pd.DataFrame:
    """List sampled pairs of the plan that lie before the last one drawn of their labels and were not drawn.

    Returns
    -------
    DataFrame
        `COLUMNS`: stay_id, label_key and the pair's inclusion probability; without rows where no protocol is signed.
    """
    signed = current_protocol(store)
    rows = of_round(store, round_file.info.round_id)
    rows = rows.filter(pc.equal(rows["purpose"], "random_audit"))
    if signed is None or rows.num_rows == 0:
        return pd.DataFrame(columns=COLUMNS)
    audit = plan(store, round_file, signed).audit
    numbers, first = round_file.label_ids, group_ids(round_file).tolist()
    pairs = zip(rows["stay_id"].to_pylist(), rows["label_key"].to_pylist(), strict=True)
    drawn: set[ItemKey] = {(stay, first[numbers[key]]) for stay, key in pairs if key in numbers}
    last = {item[1]: place for place, item in enumerate(audit.item) if item in drawn}
    missed = {item for place, item in enumerate(audit.item) if place < last.get(item[1], -1) and item not in drawn}
    names = {number: key for key, number in numbers.items()}
    found = [
        (stay, names[label], share)
        for (stay, label), (_, share) in audit.sampled.items()
        if (stay, first[label]) in missed
    ]
    return pd.DataFrame(found, columns=COLUMNS)
