"""For ML engineers: quality and privacy budget of each head, versions, what changed in the last one, the feature schema.

Named by `web.routes`.
Never shows a customer: counts, scores and weights."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web as http

from federation.heads.credit import CreditEncoder
from federation.heads.fraud import FraudEncoder
from federation.heads.head import Layout
from federation.heads.products import Catalogue
from federation.messages import HeadName
from web.pages.queue import office_of
from web.problems import Problem
from web.readmodels.progress import Progress
from web.rendering import render
from web.views import QUALITY_NAMES, TITLES, quality_chart, score_text

WEIGHTS_SHOWN: Final = 12


@cache
def layout_of(head: HeadName) -> Layout:
    """The names of a head's coordinates, as shipped."""
    if head is HeadName.PRODUCTS:
        return Catalogue.shipped().layout
    return CreditEncoder.shipped().layout if head is HeadName.CREDIT else FraudEncoder.shipped().layout


def _summary(progress: Progress, head: HeadName) -> dict[str, Any]:
    newest = progress.newest.get(head)
    status = None if newest is None else newest.status
    served = progress.served[head][-1].described if progress.served[head] else None
    gain = (
        None
        if status is None or min(status.quality_federated, status.quality_local) < 0
        else status.quality_federated - status.quality_local
    )
    return {
        "head": head.value,
        "title": TITLES[head],
        "measure": QUALITY_NAMES[head],
        "status": status,
        "federated": score_text(status.quality_federated if status else None),
        "local": score_text(status.quality_local if status else None),
        "gain": "" if gain is None else f"{gain:+.3f}",
        "points": list(progress.quality[head]),
        "chart": quality_chart(progress.quality[head]),
        "epsilon": None if newest is None else newest.epsilon_spent,
        "left_out": 0 if newest is None else newest.customers_left_out,
        "served": served,
    }


async def models_page(request: http.Request) -> http.StreamResponse:
    """Every head at a glance."""
    progress = office_of(request).progress
    return render(request, "models.html", {"heads": [_summary(progress, head) for head in HeadName]})


async def model_page(request: http.Request) -> http.StreamResponse:
    """One head: versions, the last change, features."""
    progress = office_of(request).progress
    try:
        head = HeadName(request.match_info["head"])
    except ValueError:
        raise Problem(HTTPStatus.NOT_FOUND, "There is no such model.") from None
    layout = layout_of(head)
    features: dict[str, list[str]] = {}
    for index in range(len(layout)):
        feature, value = layout.parts(index)
        features.setdefault(feature, []).append(value)
    context: dict[str, Any] = {
        "model": _summary(progress, head),
        "weights": progress.weights(head, layout, WEIGHTS_SHOWN),
        "versions": [each.described for each in reversed(progress.served[head])],
        "layout": layout,
        "features": features,
    }
    return render(request, "model.html", context)
