"""House checks: what every head must satisfy, whatever it predicts.

Run by the tests against each encoder they find in this package; a new head is checked by being there.
Never imports River or an encoder: a check sees layouts, coordinates and the `Head` protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from federation.errors import require
from federation.heads import scoring
from federation.heads.head import Active, Head, Layout, Vector

Check: TypeAlias = Callable[[Callable[[], Layout], Callable[[Layout], Head]], None]
"""Given how to make the layout and a fresh head over it: raises Broken, with a sentence, where the head does not keep house."""

_LESSONS: Final = 60


def checks() -> Iterator[tuple[str, Check]]:
    """(name, check), in a fixed order."""
    for check in (
        layout_survives_restarts,
        starts_at_the_prior,
        vector_is_the_whole_state,
        bad_vectors_are_refused,
        points_add_up,
        order_is_irrelevant,
        only_active_coordinates_learn,
        learning_moves_towards_the_label,
        bare_vector_scores_alike,
    ):
        yield check.__name__, check


def layout_survives_restarts(layout_of: Callable[[], Layout], _head_of: Callable[[Layout], Head]) -> None:
    """Made twice, it is the same layout, and every name leads to its own coordinate."""
    first, second = layout_of(), layout_of()
    require(first == second and first.digest == second.digest, "the layout differs from one start to the next")
    require([first.index(name) for name in first.names] == list(range(len(first))), "a name leads to another coordinate")


def starts_at_the_prior(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """Before anything is learned, the vector is zero and every event has the prior's odds."""
    layout = layout_of()
    head = head_of(layout)
    require(not head.to_vector().any(), "a head is born with weights")
    require(all(head.log_odds(active) == layout.prior for active, _ in _lessons(layout)), "a head that knows nothing distinguishes")


def vector_is_the_whole_state(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """Vector -> head -> vector is the identity, and the copy then learns exactly as the original does."""
    layout = layout_of()
    original, copy = head_of(layout), head_of(layout)
    _teach(original, _lessons(layout))
    copy.from_vector(original.to_vector())
    require(np.array_equal(original.to_vector(), copy.to_vector()), "a vector does not come back as it was set")
    _teach(original, _lessons(layout))
    _teach(copy, _lessons(layout))
    require(np.array_equal(original.to_vector(), copy.to_vector()), "a head restored from its vector learns otherwise")


def bad_vectors_are_refused(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """Another length, or a number that is not finite: ValueError, and the weights stay."""
    layout = layout_of()
    head = head_of(layout)
    _teach(head, _lessons(layout))
    before = head.to_vector()
    for bad in (before[:-1], np.append(before, 0.0), np.where(np.arange(len(layout)) == 1, np.nan, before), before + np.inf):
        require(_refuses(head, bad), "a vector was taken that is too short, too long or not finite")
    require(np.array_equal(head.to_vector(), before), "a refused vector changed the head")


def points_add_up(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """Prior, intercept and all points of an explanation are the log-odds, however many reasons are asked for."""
    layout = layout_of()
    head = head_of(layout)
    _teach(head, _lessons(layout))
    intercept = float(head.to_vector()[0])
    for active, _ in _lessons(layout):
        for most in (0, 1, 3, len(active)):
            reasons = head.explain(active, most)
            total = layout.prior + intercept + math.fsum(reason.points for reason in reasons)
            require(math.isclose(total, head.log_odds(active), abs_tol=1e-9), "the reasons do not add up to the score")
            require(len(reasons) <= most + 1, "more reasons than were asked for")


def order_is_irrelevant(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """In whichever order coordinates are named, the same is learned and scored."""
    layout = layout_of()
    forward, backward = head_of(layout), head_of(layout)
    _teach(forward, _lessons(layout))
    _teach(backward, [(active[::-1], positive) for active, positive in _lessons(layout)])
    require(np.allclose(forward.to_vector(), backward.to_vector(), rtol=0, atol=1e-9), "the order of coordinates is learned")


def only_active_coordinates_learn(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """One event moves its own coordinates and the intercept, and nothing else."""
    layout = layout_of()
    for active, positive in _lessons(layout):
        head = head_of(layout)
        head.learn(active, positive)
        require(head.to_vector().nonzero()[0].tolist() == [0, *active], "an event moved the weights of other events")


def learning_moves_towards_the_label(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """The event just learned is likelier to have the label it had; a lesson of weight 0 changes nothing."""
    layout = layout_of()
    head = head_of(layout)
    for active, positive in _lessons(layout):
        before = head.log_odds(active)
        head.learn(active, positive, 0.0)
        require(head.log_odds(active) == before, "a lesson without weight was learned")
        head.learn(active, positive)
        require((head.log_odds(active) > before) is positive, "learning moved away from the label")


def bare_vector_scores_alike(layout_of: Callable[[], Layout], head_of: Callable[[Layout], Head]) -> None:
    """What the portal computes from the vector is what the head says."""
    layout = layout_of()
    head = head_of(layout)
    _teach(head, _lessons(layout))
    vector = head.to_vector()
    for active, _ in _lessons(layout):
        require(math.isclose(scoring.predict(layout, vector, active), head.predict(active), rel_tol=1e-9), "the portal scores otherwise")
        require(scoring.explain(layout, vector, active, 3) == head.explain(active, 3), "the portal gives other reasons")


def _lessons(layout: Layout) -> Sequence[tuple[Active, bool]]:
    """Labelled events spread over the whole layout, the same every time."""
    step = max(1, (len(layout) - 1) // 7)
    return [
        (tuple(sorted({1 + (start * 31 + place * step) % (len(layout) - 1) for place in range(6)})), start % 3 == 0)
        for start in range(_LESSONS)
    ]


def _teach(head: Head, lessons: Sequence[tuple[Active, bool]]) -> None:
    for active, positive in lessons:
        head.learn(active, positive)


def _refuses(head: Head, vector: Vector) -> bool:
    try:
        head.from_vector(vector)
    except ValueError:
        return True
    return False
