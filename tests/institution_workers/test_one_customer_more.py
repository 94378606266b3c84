"""With or without one customer, from his events to the sum: nobody else's part changes, and the sum by no more than the bound."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.messages import HeadName, InteractionKind
from federation.privacy.customers import summed
from federation.privacy.randomness import Stream
from institution_workers.storage import Store
from tests.institution_workers.conftest import BANK, Scribe

CREDIT, FRAUD, PRODUCTS = HeadName
CUSTOMERS = ("anna", "ben", "carl")
GOODS = ("guarantee", "payroll_account", "current_account", "savings_account")
BOUND = {"clip_norm": 0.3, "clip_quanta": 256, "count_quanta": 64}

event = st.tuples(st.sampled_from(CUSTOMERS), st.sampled_from(GOODS), st.floats(100, 1e5), st.booleans(), st.booleans())


class Apart:
    """Words of a customer come from his name, whoever else is there: the coupling under which the bound is exact."""

    def __init__(self, people):
        self._people = people

    def fractions(self, count):
        drawn = [Stream(lambda n, name=name: hashlib.shake_256(name.encode()).digest(n)).fractions(size) for name, size in self._people]
        assert sum(map(len, drawn)) == count
        return np.concatenate([np.zeros(0), *drawn])


def lives(events, without=None):
    """Records of these events, of everybody but one; ids and times do not depend on who is left out."""
    scribe, found = Scribe(), []
    for number, (customer, product, amount, positive, consented) in enumerate(events):
        made = [
            scribe.application(f"a{number}", customer=customer, numbers={"amount": amount}, consented=consented),
            scribe.outcome(f"o{number}", f"a{number}", head=CREDIT, positive=positive),
            scribe.payment(f"p{number}", customer=customer, terminal=product, amount=amount, consented=consented),
            scribe.outcome(f"q{number}", f"p{number}", positive=positive),
            scribe.interaction(f"i{number}", product, customer=customer, kind=InteractionKind.ACQUIRED, consented=consented),
        ]
        found += made if customer != without else []
    return found


@pytest.mark.parametrize("head", HeadName)
@settings(derandomize=True, max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(event, min_size=1, max_size=12), customer=st.sampled_from(CUSTOMERS))
def test_a_customer_more_changes_only_his_own_part(head, tmp_path_factory, studying, events, customer):
    """The others' lessons are the same, one by one; the sums differ within the root of clip_quanta squared and count_quanta squared."""
    lessons, sums = [], []
    for absent in (None, customer):
        store = Store.open(tmp_path_factory.mktemp("one"), BANK)
        study = studying(store, heads=(head,))
        study.turn(lives(events, without=absent))
        found, pupil = study.window.lessons(head), study.pupils[head]
        pupil.base = np.random.RandomState(1).normal(size=len(pupil.base))  # A published model.
        updates = pupil.updates(own for _, own in found)
        people = Apart([(name, len(update)) for (name, _), update in zip(found, updates, strict=True)])
        sums.append(summed(updates, dimension=len(pupil.base), **BOUND, stream=people).total)
        lessons.append(found)
        store.close()
    difference = (sums[0] - sums[1]).tolist()

    assert [each for each in lessons[0] if each[0] != customer] == list(lessons[1])
    assert sum(value**2 for value in difference) <= BOUND["clip_quanta"] ** 2 + BOUND["count_quanta"] ** 2
