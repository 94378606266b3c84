"""One Flower SecAgg+ round for each line on stdin: prints a JSON line of client and server milliseconds of processor time.

Started by benchmarks/secagg.py with the interpreter of an environment that holds flwr[simulation]==1.41.0; imports nothing of Riverbank.
Never crosses a network: the shipped workflow and mod, in one process; every message goes to protobuf and back."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as Proto
from flwr.server import ServerConfig
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp.grid import Grid
from flwr.supercore.task_identity import TaskIdentity


class Echo(NumPyClient):
    """Trains nothing: gives back what it got, with weight 1."""

    def fit(self, parameters: Any, _config: Any) -> Any:
        """The parameters, unchanged."""
        return parameters, 1, {}


def _client(_context: Context) -> Any:
    return Echo().to_client()


class LocalGrid(Grid):
    """Clients 1 to n in this process; the first `dead` of them never send their masked vector."""

    run = SimpleNamespace(run_id=1)

    def __init__(self, members: int, dead: int) -> None:
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in range(1, members + 1)}
        self.alive = range(dead + 1, members + 1)
        self.app = ClientApp(client_fn=_client, mods=[secaggplus_mod])
        self.seconds: Counter[int] = Counter()
        self.up_bytes: Counter[int] = Counter()
        self._sequence = 0

    def set_run(self, run: Any) -> None:
        """Nothing to do: there is one run."""

    def get_node_ids(self) -> list[int]:
        """All clients."""
        return list(self.contexts)

    def create_message(self, *_: Any, **__: Any) -> Message:
        """Not asked for by the workflow."""
        raise NotImplementedError

    def push_messages(self, messages: Any) -> Any:
        """Not asked for by the workflow."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Any) -> Any:
        """Not asked for by the workflow."""
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002
        """Every answer, the clients working one after the other."""
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        self._sequence += 1
        message.metadata.__dict__.update(_run_id=1, _message_id=str(self._sequence))
        node = message.metadata.dst_node_id
        sent = message_to_proto(message).SerializeToString()
        begun = time.process_time()
        received = message_from_proto(Proto.FromString(sent))
        stage = received.content.config_records.get("secaggplus_configs", {}).get("stage", "")
        if stage == "collect_masked_vectors" and node not in self.alive:
            return Message(Error(ErrorCode.NODE_UNAVAILABLE, "dropped"), reply_to=received)
        reply = message_to_proto(self.app(received, self.contexts[node])).SerializeToString()
        self.seconds[node] += time.process_time() - begun
        self.up_bytes[node] += len(reply)
        return message_from_proto(Proto.FromString(reply))


def main(members: int, dimension: int, dead: int, rounds: int) -> None:
    """Rounds with all shares and a threshold of two thirds, each begun by a line on stdin."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0
    grid = LocalGrid(members, dead)
    workflow = SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=0.67, max_weight=1.0)

    def asked(grid: LocalGrid, context: Any) -> None:
        if not sys.stdin.readline():
            sys.exit()
        grid.seconds.clear()
        grid.up_bytes.clear()
        begun = time.process_time()
        workflow(grid, context)
        spent_s = time.process_time() - begun
        alive = len(grid.alive)
        row = {
            "client_ms": 1000 * sum(grid.seconds[node] for node in grid.alive) / alive,
            "aggregator_ms": 1000 * (spent_s - sum(grid.seconds.values())),
            "up_bytes": sum(grid.up_bytes[node] for node in grid.alive) / alive,
        }
        print(json.dumps(row), flush=True)

    start = np.random.Generator(np.random.PCG64(0)).normal(0, 1, dimension).astype(np.float32)
    strategy = FedAvg(
        fraction_fit=1.0, fraction_evaluate=0.0, min_fit_clients=members, min_available_clients=members,
        initial_parameters=ndarrays_to_parameters([start]),
    )  # fmt: skip
    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), ServerConfig(num_rounds=rounds), strategy)
    DefaultWorkflow(fit_workflow=asked)(grid, context)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
