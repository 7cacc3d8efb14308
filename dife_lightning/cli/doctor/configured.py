"""The settings that the doctor examines, and the method that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning import LightningModule


class Configured:
    """Resolved settings by part; the method is built once, when a check first asks for it.

    Args:
        settings: all settings of a ``dife fit``.

    Attributes:
        model: arguments of the method.
        data: arguments of the data module.
        trainer: settings of the trainer.
        method: name of the method's class.
        data_class: name of the data module's class.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.model, self.data = _arguments(settings, "model"), _arguments(settings, "data")
        self.trainer: Mapping[str, Any] = settings["trainer"]
        self.method = str(settings["model"]["class_path"]).rpartition(".")[2]
        self.data_class = str((settings.get("data") or {}).get("class_path", "")).rpartition(".")[2]

    @cached_property
    def module(self) -> LightningModule | None:
        """The method as configured, without its initial weights; None for a class that is not registered.

        Raises:
            DifeError: the settings make no sense.
        """
        from dife_lightning.registry import methods_by_class

        known = methods_by_class()
        arguments = {name: value for name, value in self.model.items() if name != "init_from"}
        return known[self.method](**arguments) if self.method in known else None

    @property
    def trainable(self) -> int | None:
        """Number of trainable parameters."""
        if self.module is None:
            return None
        return sum(parameter.numel() for parameter in self.module.parameters() if parameter.requires_grad)

    def generators(self, part: str) -> dict[str, str]:
        """Return domain -> generator of the ``model`` or the ``data``."""
        found = getattr(self, part).get("generators")
        return dict(found) if isinstance(found, Mapping) else {}


def _arguments(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    return dict((settings.get(part) or {}).get("init_args") or {})
