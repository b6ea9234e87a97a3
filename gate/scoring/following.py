"""A follower of a team: it loads the leader's models on its own device and answers what it is handed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gate.errors import InfrastructureError
from gate.records import Response
from gate.scoring.session import ModelScorer
from gate.scoring.shelf import Shelf
from gate.scoring.team import DEVICE, Models, Order, attempt, join_group, launched


def follow(environ: Mapping[str, str]) -> bool:
    """Serve until the leader dismisses this process; False, at once, where this process leads."""
    rank, _ = launched(environ)
    if rank == 0:
        return False
    join_group()
    device = environ.get(DEVICE) or f"cuda:{environ.get('LOCAL_RANK', '0')}"
    serve(device)
    return True


def serve(device: str) -> None:
    """Answer orders. A leader that is gone ends it too."""
    import torch.distributed as dist

    known: tuple[Models, Shelf] | None = None
    while True:
        handed: list[Any] = [None]
        try:
            dist.scatter_object_list(handed, None, src=0)
            order: Order | None = handed[0]
            if order is None:
                dist.destroy_process_group()
                return
            if known is not None and known[0] != order.models:
                known[1].clear()
                known = None
            if order.models is not None and known is None:
                known = order.models, shelf_of(order.models, device)
            answers: Any = [] if known is None else attempt(partial(answer, order, *known))
            dist.gather_object(answers, None, dst=0)
        except RuntimeError:
            return


def shelf_of(models: Models, device: str) -> Shelf:
    """A place for the leader's models here; on its own device where the leader left the choice open."""
    evaluation = models.evaluation
    if evaluation.device in ("auto", "cuda") and models.device_name.startswith("cuda"):
        evaluation = replace(evaluation, device=device)
    return Shelf(models.base, models.tuned, evaluation, models.trust, models.training_bits)


def answer(order: Order, models: Models, shelf: Shelf) -> list[list[Response]]:
    """The share's answers. Raises InfrastructureError on another kind of device than the leader's."""
    here = shelf.settings.device_name
    if here != models.device_name:
        raise InfrastructureError(
            f"a process scores on {here}, its leader on {models.device_name}",
            hint="spread a check over devices of one kind: scores differ between kinds",
        )
    assert order.way is not None
    return ModelScorer(shelf, order.side, order.way).score_groups(order.groups) if order.groups else []


if __name__ == "__main__":
    follow(os.environ)
