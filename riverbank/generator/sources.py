"""The generated streams, one per head.

Called by `riverbank.feed`.
Never ends a stream: who asks for the next arrival gets one."""

from __future__ import annotations

from federation.messages import HeadName
from riverbank.arrivals import Source
from riverbank.generator import acquisitions, applications, payments
from riverbank.generator.world import World


def sources(world: World) -> dict[HeadName, Source]:
    """Head -> its endless stream; nothing is ever refused."""
    return {
        HeadName.CREDIT: lambda _refused: applications.arrivals(world),
        HeadName.FRAUD: lambda _refused: payments.arrivals(world),
        HeadName.PRODUCTS: lambda _refused: acquisitions.arrivals(world),
    }
