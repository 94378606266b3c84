"""The watchdog: stuck is what has records and does not move."""

from aggregator_worker.watchdog import Watchdog

P, Q = ("rounds", 0), ("chunks", 1)


def test_idle_is_not_stuck():
    """A partition without anything to read may stand still for ever."""
    dog = Watchdog(10)

    assert not any(dog.look({P: 5}, {P: 5}, now) for now in range(0, 1000, 5))
    assert not any(dog.look({Q: 5}, {}, now) for now in range(0, 1000, 5))


def test_slow_is_not_stuck():
    """However far behind: one record handled within the patience is progress."""
    dog = Watchdog(10)

    assert not any(dog.look({P: 1000}, {P: step}, 9 * step) for step in range(100))


def test_stuck_is_said_after_the_patience_and_not_before():
    """Records wait, nothing is handled: after ten seconds, this partition and no other."""
    dog = Watchdog(10)
    seen = {now: dog.look({P: 7, Q: 3}, {P: 5, Q: 3}, now) for now in (0, 5, 10, 11)}

    assert seen == {0: (), 5: (), 10: (), 11: (P,)}


def test_a_partition_that_never_moved_counts_from_its_end_when_first_seen():
    """What came after this worker took the partition over and is not handled is stuck too."""
    dog = Watchdog(10)
    dog.look({P: 7}, {}, 0)
    dog.look({P: 8}, {}, 5)

    assert dog.look({P: 8}, {}, 12) == ()
    assert dog.look({P: 8}, {}, 16) == (P,)


def test_a_partition_taken_over_anew_starts_afresh():
    """Lost and regained: the time in between is not held against it."""
    dog = Watchdog(10)
    dog.look({P: 7}, {P: 5}, 0)
    dog.look({}, {}, 5)
    dog.look({P: 7}, {P: 5}, 100)

    assert dog.look({P: 7}, {P: 5}, 105) == ()
