"""Communication between the processes of one training; with one process, nothing is sent."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist

from dife_lightning.errors import ConfigError

T = TypeVar("T")


def process_count() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_objects(value: T) -> list[T]:
    """Return the values of all processes, in the order of the ranks; all processes must call this."""
    if process_count() == 1:
        return [value]
    gathered: list[T] = [value] * process_count()
    dist.all_gather_object(gathered, value)
    return gathered


def agree_on(value: int, device: torch.device) -> int:
    """Return the largest ``value`` of all processes, which communicate on ``device``; all processes must call this."""
    if process_count() == 1:
        return value
    largest = torch.tensor(value, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return int(largest)


def check_strategy(trainer: Any, name: str) -> None:
    """Raise ConfigError if DistributedDataParallel expects every backward pass to reach all parameters.

    Methods with two optimisers, such as the one called ``name``, have passes that reach a part of them.
    """
    from lightning.pytorch.strategies import DDPStrategy

    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get("find_unused_parameters"):
        raise ConfigError(
            f"{name} trains two networks in turn, which needs --trainer.strategy ddp_find_unused_parameters_true "
            "(found ddp)"
        )
