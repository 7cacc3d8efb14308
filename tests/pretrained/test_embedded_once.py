"""Embeddings that are kept: what is embedded, and how often."""

from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.pretrained.embedders import EmbeddedOnce


class Counted:
    """An ``embed`` that counts what it has embedded."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return torch.cat((images, -images), 1)[:, :, ::2, ::2]


def faces(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None] * torch.linspace(0.5, 1, 3 * 8 * 8).reshape(3, 8, 8)


def test_each_image_is_embedded_once_and_every_answer_is_that_of_the_method():
    counted = Counted()
    once = EmbeddedOnce(counted)
    for images, seen in ((faces(0.1, 0.2, 0.1), 2), (faces(0.2, 0.3, 0.1), 3), (faces(0.3, 0.2), 3)):
        torch.testing.assert_close(once(images), Counted()(images), atol=0, rtol=0)
        assert counted.images == seen


def test_without_room_images_are_embedded_again():
    counted = Counted()
    once = EmbeddedOnce(counted, room=6 * 4 * 4 * 4)  # one embedding
    for images, seen in ((faces(0.1, 0.2, 0.3), 3), (faces(0.1), 4), (faces(0.1, 0.2, 0.3), 6)):
        torch.testing.assert_close(once(images), Counted()(images), atol=0, rtol=0)
        assert counted.images == seen


def test_what_is_kept_is_not_what_the_caller_changes():
    once = EmbeddedOnce(Counted())
    once(faces(0.1)).zero_()
    torch.testing.assert_close(once(faces(0.1)), Counted()(faces(0.1)), atol=0, rtol=0)
