"""What the worker keeps of a customer who has been erased: nothing, also of what comes later; and what the others lose by it: nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from federation.messages import DeadLetter, ErasureAsked, ErasureCertified, HeadName, Purpose, Verdict
from institution_workers.erasure import customer_digest
from institution_workers.ledger import DAY_MS, Price
from institution_workers.storage import Store
from streams.codec import decode, encode
from streams.topology import ERASURES_ASKED, ERASURES_CERTIFIED, FLAGS, PROFILES, Cluster
from tests.institution_workers.conftest import BANK
from tests.institution_workers.test_consents import contributors, labelled

FRAUD, PRODUCTS = HeadName.FRAUD, HeadName.PRODUCTS
SALT = b"\x05" * 32


def asks(scribe, customer="anna", request_id="r1"):
    asked = ErasureAsked(request_id=request_id, customer=customer, salt=SALT, asked_at_ms=scribe.at_ms)
    return replace(scribe.raw(encode(asked), ERASURES_ASKED), key=customer.encode())


def everything(scribe, customer="anna"):
    """Something in every table."""
    return [
        scribe.consents(customer, permitted=(Purpose.LEARNING,)),
        *labelled(scribe, f"p1-{customer}", customer=customer),
        scribe.payment(f"p2-{customer}", customer=customer),
        scribe.payment(f"p2-{customer}", customer=customer),
        scribe.application(f"a1-{customer}", customer=customer),
        scribe.feedback(f"f1-{customer}", "nobody", Verdict.CONFIRMED, customer=customer),
        scribe.interaction(f"i1-{customer}", "mortgage", customer=customer),
    ]


def rows_of(store, name="anna"):
    """Table -> rows in which a name stands."""
    tables = [table for (table,) in store.database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for table in tables:
        rows = store.database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 Its own names.
        many = sum(any(name.encode() in (cell if isinstance(cell, bytes) else str(cell).encode()) for cell in row) for row in rows)
        if many:
            found[table] = many
    return found


def certificates(store):
    topic = ERASURES_CERTIFIED.full_name(BANK)
    return [decode(said.value, (ErasureCertified,), 10**6) for _, said in store.unsaid(Cluster.OWN, 10_000) if said.topic == topic]


def test_nothing_of_the_erased_is_left_and_the_certificate_counts_it(store, studying, scribe):
    """Rows of every table, what was not said yet, and the key of his dead letters; the tombstone is said after all of it."""
    study = studying(store)
    study.turn([*everything(scribe), *everything(scribe, "ben")])
    assert set(rows_of(store)) == {
        "consents", "lessons", "waiting", "early", "profiles", "behaviour", "journal", "customer_keys"
    }  # fmt: skip
    bens = rows_of(store, "ben")
    study.turn([asks(scribe)])
    (certified,) = certificates(store)
    said = [record for _, record in store.unsaid(Cluster.OWN, 10_000)]

    assert rows_of(store) == {"journal": 2}  # The tombstones' keys.
    assert [(record.topic, record.value) for record in said if record.key == b"anna"] == [
        (topic.full_name(BANK), None) for topic in (PROFILES, FLAGS)
    ]
    assert rows_of(store, "ben") == bens
    assert {place.place.removeprefix("state: "): place.items for place in certified.places} == {
        "consents": 1, "lessons": bens["lessons"], "waiting": 2, "early": 1, "profiles": 1, "behaviour": 1, "journal": 1, "customer_keys": 1, "spendings": 0
    }  # fmt: skip
    assert (certified.customer_digest, certified.request_id) == (customer_digest("anna", SALT), "r1")
    assert b"anna" not in encode(certified)


def test_what_comes_later_leaves_no_trace_until_he_says_something(store, studying, scribe):
    """Not in the request's own turn, and not after a restart; with a new statement he is a customer again."""
    studying(store).turn([*everything(scribe), asks(scribe), scribe.payment("p8")])
    study = studying(store)
    later = [*labelled(scribe, "p9"), scribe.interaction("i9", "securities"), scribe.payment("p9"), scribe.application("a9")]
    study.turn(later)
    assert set(rows_of(store)) == {"journal"}
    assert [record.value for _, record in store.unsaid(Cluster.OWN, 10_000) if record.key == b"anna"] == [None, None]
    before = study.pupils[FRAUD].learned
    study.turn([scribe.consents(permitted=(Purpose.LEARNING,)), *labelled(scribe, "p10")])

    assert study.pupils[FRAUD].learned == before + 1
    assert "behaviour" in rows_of(store)


def test_a_dead_letter_of_the_erased_cannot_be_opened_any_more(store, studying, scribe):
    """Its key is gone; and what is refused of him later is sealed with a key that nobody keeps."""
    study = studying(store)
    study.turn([scribe.payment("p1"), scribe.payment("p1"), asks(scribe), scribe.payment("p2", amount=-1.0)])
    records = [record.value for _, record in store.unsaid(Cluster.OWN, 10_000) if record.topic.endswith("dead_letters.v1")]
    letters = [decode(value, (DeadLetter,), 10**6) for value in records]

    assert len({letter.key_id for letter in letters}) == len(letters) == 2
    assert not [value for value in records if b"anna" in value]
    assert store.database.execute("SELECT count(*) FROM customer_keys").fetchone() == (0,)


def test_the_others_contribution_is_one_that_he_was_never_part_of(store, studying, scribe):
    """Bit for bit; and what he had taught the bank's own model stays in it, as docs/rights.md says."""
    study = studying(store)
    study.turn([*labelled(scribe, "p1"), *labelled(scribe, "p2", customer="ben", terminal="shop-9"), asks(scribe)])
    alone = Store.open(store._folder.parent / "alone", BANK)
    without = studying(alone)
    without.turn(labelled(scribe, "p2", customer="ben", terminal="shop-9"))

    assert contributors(study, store)[0] == ["ben"]
    assert np.array_equal(contributors(study, store)[2], contributors(without, alone)[2])
    alone.close()


@pytest.mark.parametrize(("days", "pays"), [(9, False), (11, True)])
def test_to_be_erased_gives_no_budget_back(store, studying, scribe, clock, days, pays):
    """What he had spent is unknown once it is erased: until a period is over he can pay for nothing, whatever he states."""
    study = studying(store)
    price = Price(cost=0.25, budget=0.75, period_days=10)
    study.turn(labelled(scribe, "p1"))
    with store.turn():
        study.ledger.enter(FRAUD, 1, {"anna": 0.25}, price, clock.now_ms())
    study.turn([asks(scribe), scribe.consents(permitted=(Purpose.FEDERATION,))])
    admitted = study.ledger.admitted(FRAUD, ["anna", "ben"], price, clock.now_ms() + days * DAY_MS)

    assert admitted == [0.25 if pays else None, 0.25]
    assert {place.place: place.items for place in certificates(store)[0].places}["state: spendings"] == 1


def test_a_request_that_cannot_be_read_erases_nobody(store, studying, scribe):
    """It is a dead letter."""
    study = studying(store)
    study.turn([*everything(scribe), scribe.raw(b"junk", ERASURES_ASKED), asks(scribe, customer="")])

    assert study.learner.counts["refused.erasures_asked.v1.malformed"] == 1
    assert study.learner.counts["refused.erasures_asked.v1.invalid"] == 1
    assert "profiles" in rows_of(store)
    assert certificates(store) == []


def test_asked_again_it_is_certified_again(store, studying, scribe):
    """Under the new request's id, with nothing left to delete."""
    study = studying(store)
    study.turn([*everything(scribe), asks(scribe)])
    study.turn([asks(scribe, request_id="r2")])
    first, second = certificates(store)

    assert (first.request_id, second.request_id) == ("r1", "r2")
    assert not [place for place in second.places if place.items and place.place != "state: journal"]


def test_topics_named_by_the_certificate_are_those_that_were_read(store, studying, scribe):
    """The request itself included: all of it may be deleted."""
    study = studying(store)
    study.turn([*everything(scribe), asks(scribe)])
    read_to = {to.topic: to.offset for to in certificates(store)[0].read_to}

    assert read_to == scribe.offsets | dict.fromkeys(set(read_to) - set(scribe.offsets), 0)
    assert read_to[ERASURES_ASKED.full_name(BANK)] == 1
    assert PROFILES.full_name(BANK) not in read_to
