from __future__ import annotations

from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from dife_lightning.data.click_stream import ClickStream
from dife_lightning.data.training import StreamStart
from dife_lightning.data.world.clicks import WorldClicks
from dife_lightning.geometry.affine import AugmentOptions

STILL = AugmentOptions(0.0, 1.0, 1.0, 0.0, color_probability=0.0)


@pytest.fixture(scope="module")
def data() -> WorldClicks:
    found = WorldClicks({"human": 2, "dog": 1}, size=32, clicks=5, pixel_noise=0, uv_noise=0, batch_size=3)
    found.setup("fit")
    return found


def test_a_resumed_training_continues_with_the_batches_that_it_has_not_seen(data: WorldClicks) -> None:
    whole = list(islice(iter(data.train_dataloader()), 4))
    progress = SimpleNamespace(is_last_batch=False, current=SimpleNamespace(processed=2))
    trainer = SimpleNamespace(global_step=2, accumulate_grad_batches=1, global_rank=0, world_size=1)
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    data.trainer = trainer
    rest = list(islice(iter(data.train_dataloader()), 2))
    data.trainer = None
    for seen, again in zip(whole[2:], rest, strict=True):
        assert torch.equal(seen.images, again.images)
        assert torch.equal(seen.points, again.points)
    assert not torch.equal(whole[0].images, whole[2].images)


def test_ranks_see_the_batches_of_one_process_in_turn(data: WorldClicks) -> None:
    assert data.clicks is not None
    alone, *ranks = (
        ClickStream(data.clicks, 3, AugmentOptions(), 0, False, start)
        for start in (StreamStart(), StreamStart(rank=0, world_size=2), StreamStart(rank=1, world_size=2))
    )
    for k in range(2):
        for rank, stream in enumerate(ranks):
            assert torch.equal(stream.batch(k).points, alone.batch(2 * k + rank).points)


def test_clicks_without_noise_lie_on_visible_surface_and_carry_its_coordinate(data: WorldClicks) -> None:
    from dife_lightning.world import render

    batch = ClickStream(data.clicks, 6, STILL, 0).batch(0)
    faces = [render(name, "train", i, size=32) for name, i in (("human", 0), ("human", 1), ("dog", 0))]
    known = {face.image.tobytes(): face for face in faces}
    for image, points, uv in zip(batch.images, batch.points, batch.uv, strict=True):
        face = known[((image + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous().numpy().tobytes()]
        x, y = points.round().long().T.numpy()
        assert face.mask[y, x].all()
        torch.testing.assert_close(torch.from_numpy(face.uv[y, x]), uv)
    assert batch.inside.all()
