"""The aggregator's process with a made-up layout, for tests and benchmarks/kafka_round.py: `aggregator_child.py CONFIG DIMENSION`.

Never imported but for `made_up_layout`."""

import sys
from pathlib import Path

from aggregator_worker import wiring
from federation.heads.head import INTERCEPT, Layout
from federation.messages import HeadName
from streams.runner import run_until_signalled
from streams.settings import AggregatorProcess, load_settings


def made_up_layout(head: HeadName, dimension: int) -> Layout:
    """That many coordinates without a meaning."""
    return Layout(head, 1, (INTERCEPT, *(f"n={number}" for number in range(1, dimension))))


if __name__ == "__main__":
    settings = load_settings(Path(sys.argv[1]), AggregatorProcess)
    sys.exit(run_until_signalled(wiring.run(settings, layout_of=lambda head: made_up_layout(head, int(sys.argv[2])))))
