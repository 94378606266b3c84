"""Between the learning state in memory and its tables: what is read at start and written at the end of a turn.

Called by `worker` and `participation`, always inside a turn of the store when writing.
Never saves half a head: vectors, counts and quality of one moment go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from federation.heads.behaviour import Behaviour, Kind, Row
from federation.heads.head import Vector
from federation.messages import HeadName
from institution_workers.learner import Encoders
from institution_workers.pupil import BASE, CONTRIBUTED, FEDERATED, LOCAL, Pupil
from institution_workers.storage import StateUnusable, Store

_NUMBERS: Final = "numbers"
_VECTORS: Final = (FEDERATED, LOCAL, BASE, CONTRIBUTED)


def load_pupils(
    store: Store, heads: Iterable[HeadName], encoders: Encoders, *, learning_rates: Mapping[HeadName, float]
) -> dict[HeadName, Pupil]:
    """The heads as last saved, or new; StateUnusable when what was saved belongs to another feature layout."""
    layouts = {
        HeadName.CREDIT: encoders.credit.layout,
        HeadName.FRAUD: encoders.fraud.layout,
        HeadName.PRODUCTS: encoders.products.layout,
    }
    pupils = {}
    for head in heads:
        pupil = Pupil.new(layouts[head], learning_rate=learning_rates[head])
        numbers = store.model(head.value, _NUMBERS)
        if numbers is not None:
            try:
                pupil.restore({kind: _vector(store.model(head.value, kind)) for kind in _VECTORS}, _floats(numbers).tolist())
                for kind, measure in pupil.quality.items():
                    measure.from_numbers(_floats(store.prequential(head.value, kind) or b"").tolist())
            except ValueError as error:
                raise StateUnusable(
                    f"the saved {head.value} model does not fit this version's features ({error}): move the state folder away to learn afresh"
                ) from error
        pupils[head] = pupil
    return pupils


def save_pupil(store: Store, pupil: Pupil) -> None:
    """One head, whole."""
    for kind, vector in pupil.vectors().items():
        store.set_model(pupil.head.value, kind, None if vector is None else _bytes(vector))
    store.set_model(pupil.head.value, _NUMBERS, _bytes(pupil.numbers()))
    for kind, measure in pupil.quality.items():
        store.set_prequential(pupil.head.value, kind, _bytes(measure.to_numbers()))


def load_behaviour(store: Store) -> Behaviour:
    """Cards and terminals as last saved."""
    behaviour = Behaviour()
    rows = store.database.execute("SELECT kind, key, numbers FROM behaviour")
    behaviour.load(Row(Kind(kind), key, tuple(_floats(numbers).tolist())) for kind, key, numbers in rows)
    return behaviour


def save_behaviour(store: Store, behaviour: Behaviour) -> None:
    """The cards and terminals that changed since the last call."""
    rows = behaviour.take_changes()
    many = store.database.executemany
    kept = [(row.kind.value, row.key, _bytes(row.numbers)) for row in rows if row.numbers is not None]
    many("INSERT OR REPLACE INTO behaviour VALUES (?, ?, ?)", kept)
    many("DELETE FROM behaviour WHERE kind = ? AND key = ?", [(row.kind.value, row.key) for row in rows if row.numbers is None])


def _bytes(values: Iterable[float] | Vector) -> bytes:
    return np.fromiter(values, dtype="<f8").tobytes() if not isinstance(values, np.ndarray) else values.astype("<f8").tobytes()


def _floats(value: bytes) -> Vector:
    return np.frombuffer(value, dtype="<f8").astype(np.float64)


def _vector(value: bytes | None) -> Vector | None:
    return None if value is None else _floats(value)
