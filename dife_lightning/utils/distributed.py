"""Communication between the processes of one training; with one process, nothing is sent."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed as dist

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
