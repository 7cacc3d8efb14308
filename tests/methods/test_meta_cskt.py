"""Meta-CSKT against a loop that is written anew, and what it does with its faces."""

from __future__ import annotations

import copy
import math
import os

import numpy as np
import pytest
import torch

from dife_lightning.errors import CheckpointError, ConfigError, DataError
from dife_lightning.loading import load
from dife_lightning.methods._meta_cskt.options import published_factor
from dife_lightning.methods._meta_cskt.views import points_of_views
from dife_lightning.methods.landmark_net import LandmarkNet
from dife_lightning.methods.meta_cskt import MetaCSKT
from dife_lightning.mining import read_shifts
from tests.few_faces import NAMES, TINY_HRNET, NoiseFaces, trainer_of

NO_MINING = {"t_neg": None, "t_pos": None}


def model(**options) -> MetaCSKT:
    torch.manual_seed(5)
    given = {"network": TINY_HRNET, "landmarks": NAMES, "mining": NO_MINING, "lr": 0.01, "flip_test": False}
    built = MetaCSKT(**{**given, **options})
    for network in (built.base, built.adaptation):
        for parameter in network.parameters():
            if parameter.ndim > 1:  # the published start is so small that nothing moves in a step
                parameter.data.mul_(200)
    return built


def gaussians(points: torch.Tensor, cells: int) -> torch.Tensor:
    """Targets by the formula: cell k of a map over S pixels is at (k + 0.5) * S / cells - 0.5."""
    maps = torch.zeros(*points.shape[:2], cells, cells)
    for b, face in enumerate(points):
        for k, (x, y) in enumerate(face.tolist()):
            for row in range(cells):
                for column in range(cells):
                    distance = (column - ((x + 0.5) / 4 - 0.5)) ** 2 + (row - ((y + 0.5) / 4 - 0.5)) ** 2
                    maps[b, k, row, column] = math.exp(-distance / 2)
    return maps


def by_hand(method: MetaCSKT, batches: list, steps: int) -> tuple[dict, dict, list[float]]:
    """Train copies of the networks as the published code does, with ``torch`` alone."""
    base, adaptation = copy.deepcopy(method.base).train(), copy.deepcopy(method.adaptation).train()
    adams = [torch.optim.Adam(network.parameters(), method.lr) for network in (adaptation, base)]
    feedback = []
    for step, batch in enumerate(batches):
        rate = method.lr * (1 + math.cos(math.pi * step / steps)) / 2
        for adam in adams:
            adam.param_groups[0]["lr"] = rate
            adam.zero_grad()
        labelled, everything = len(batch.labelled), torch.cat((batch.labelled, batch.unlabelled))
        targets = gaussians(batch.points, 8)
        soft = base(everything)
        found = adaptation(everything)
        ((found - soft.detach()) ** 2).mean().backward()
        adams[0].step()
        with torch.no_grad():
            before = ((found[:labelled] - targets) ** 2).mean()
            h = float(before - ((adaptation(batch.labelled) - targets) ** 2).mean())
        hard, counted = torch.zeros_like(soft[labelled:]), 0
        total = soft.new_zeros([])
        for b, maps in enumerate(soft[labelled:]):
            for k, one in enumerate(maps):
                row, column = divmod(int(one.detach().argmax()), 8)
                if column > 0:
                    grid = torch.arange(8.0)
                    hard[b, k] = torch.exp(-((grid[:, None] - row) ** 2 + (grid[None] - column) ** 2) / 2)
                    total, counted = total + ((one - hard[b, k]) ** 2).mean(), counted + 1
        adams[1].zero_grad()
        (((soft[:labelled] - targets) ** 2).mean() + method.feedback * h * total / max(1, counted)).backward()
        adams[1].step()
        feedback.append(h)
    return base.state_dict(), adaptation.state_dict(), feedback


def assert_same(found: dict, expected: dict) -> None:
    """A bias before a batch normalisation has no gradient but rounding errors, which Adam makes steps of."""
    for name, value in found.items():
        if name != "head.0.bias" and "num_batches" not in name and "running" not in name:
            torch.testing.assert_close(value, expected[name], rtol=1e-2, atol=1e-4)


def fitted(method: MetaCSKT, data: NoiseFaces, folder, batches: int = 100, **options) -> MetaCSKT:
    trainer_of(folder, batches, **options).fit(method, data)
    return method


def test_steps_are_those_of_the_published_training(tmp_path):
    data, method = NoiseFaces(), model(steps=3, feedback=50.0)
    draws = [data.compose(draw) for draw, _ in zip(data.train_dataloader(), range(3), strict=False)]
    base, adaptation, feedback = by_hand(method, draws, 3)
    start = {name: value.clone() for name, value in method.base.state_dict().items()}
    fitted(method, NoiseFaces(), tmp_path)
    assert int(method.steps_done) == 3
    assert any(abs(h) > 1e-4 for h in feedback)
    for network, expected in ((method.base, base), (method.adaptation, adaptation)):
        assert_same(network.state_dict(), expected)
    assert not torch.allclose(method.base.conv1.weight, start["conv1.weight"])


def test_without_feedback_the_base_network_learns_from_labels_alone(tmp_path):
    results = []
    for unlabelled in (1, 2):
        data = NoiseFaces(unlabelled_batch=unlabelled)
        method = model(steps=1, feedback=0.0)
        method.base.eval = method.base.train  # type: ignore[method-assign]
        fitted(method, data, tmp_path)
        results.append(method)
    draws = [next(iter(NoiseFaces(unlabelled_batch=count).train_dataloader())) for count in (1, 2)]
    assert torch.equal(draws[0].uniform, draws[1].uniform)
    # the unlabelled faces reach B through its batch normalisation alone
    assert not torch.equal(results[0].base.bn1.running_mean, results[1].base.bn1.running_mean)


def test_micro_batches_give_the_gradient_of_the_whole(tmp_path):
    """Two halves with the same faces: their batch normalisation is that of the whole."""

    class Doubled(NoiseFaces):
        def compose(self, draw):
            one = super().compose(draw)
            return type(one)(
                *(torch.cat((part, part)) for part in (one.labelled, one.points, one.visible)),
                *(torch.cat((part, part)) for part in (one.unlabelled, one.affine)),
                one.names * 2,
                torch.cat((one.pooled, one.pooled)),
            )

    whole = fitted(model(steps=2, feedback=20.0), Doubled(), tmp_path)
    halves = fitted(model(steps=2, feedback=20.0, micro_batches=2), Doubled(), tmp_path)
    assert_same(dict(halves.base.named_parameters()), dict(whole.base.named_parameters()))
    assert_same(dict(halves.adaptation.named_parameters()), dict(whole.adaptation.named_parameters()))


def test_gradients_are_limited(tmp_path):
    norms = []

    class Watched(MetaCSKT):
        def on_before_optimizer_step(self, optimizer):
            super().on_before_optimizer_step(optimizer)
            parameters = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norms.append(float(torch.cat([grad.flatten() for grad in parameters]).norm()))

    torch.manual_seed(5)
    method = Watched(TINY_HRNET, NAMES, steps=1, mining=NO_MINING, clip=1e-3, flip_test=False)
    fitted(method, NoiseFaces(), tmp_path)
    # A starts as a copy of B, whose maps it already gives
    assert norms == [0, pytest.approx(1e-3, rel=1e-2)]


def test_the_rate_waits_and_falls():
    assert [published_factor(step, 2, 8) for step in (0, 1)] == [0, 0]
    assert published_factor(2, 2, 8) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert published_factor(8, 2, 8) == pytest.approx(0)
    method = model(steps=10, warmup_steps=4, warmup_lr=0.5, lr=0.25, wait=1)
    rates = [method.rate(step) for step in range(10)]
    assert rates[:2] == pytest.approx([0.5, 0.5 * (1 + math.cos(math.pi / 4)) / 2])
    assert rates[4:6] == pytest.approx([0, 0.25 * (1 + math.cos(math.pi / 6)) / 2])


def test_after_the_warm_up_both_networks_are_one(tmp_path):
    data, method = NoiseFaces(), model(steps=5, warmup_steps=3, ema_half_life=10.0)
    start = {name: value.clone() for name, value in method.adaptation.state_dict().items()}
    seen = {}

    class Watched(type(method)):  # type: ignore[misc]
        def _mine(self):
            seen.update(base=copy.deepcopy(self.base.state_dict()), a=copy.deepcopy(self.adaptation.state_dict()))
            super()._mine()

    method.__class__ = Watched
    fitted(method, data, tmp_path)
    for name, value in seen["base"].items():
        assert torch.equal(seen["a"][name], value)
    assert not torch.equal(seen["a"]["conv1.weight"], start["conv1.weight"])
    assert method.evaluated is method.average
    assert not torch.equal(method.average.conv1.weight, method.adaptation.conv1.weight)


def shift_file(path, values: dict[str, float]):
    path.write_text("img,nme\n" + "".join(f"{name},{value}\n" for name, value in values.items()))
    return str(path)


def test_positives_become_labels_and_hard_negatives_are_never_used(tmp_path):
    shifts = {f"pool {k}": 0.1 * k for k in range(6)}
    mining = {
        "t_neg": 0.45,  # pool 5
        "t_pos": 0.15,  # pool 0 and 1
        "flip": shift_file(tmp_path / "flip.csv", shifts),
        "human": shift_file(tmp_path / "human.csv", shifts),
    }
    used: list[str] = []

    class Watched(MetaCSKT):
        def _teach(self, batch):
            used.extend(batch.names)
            super()._teach(batch)

    torch.manual_seed(5)
    method = Watched(TINY_HRNET, NAMES, steps=8, mining=mining, refresh=3, flip_test=False)
    data = NoiseFaces(labelled_batch=8)
    fitted(method, data, tmp_path)
    assert set(used) == {f"pool {k}" for k in range(5)}
    assert len(used) == 8 * data.unlabelled_batch  # batches keep their size
    assert data.labels.names == ("few 0", "few 1", "few 2", "pool 0", "pool 1")
    assert method._pool is not None
    assert set(method._pool.entries) == {"pool 0", "pool 1"}


@pytest.mark.parametrize("views", [1, 3, 5])
def test_points_of_several_views_are_mapped_back(views):
    spots, seen = np.array([[12, 20], [17, 9], [15, 15]]), []
    data = NoiseFaces()
    faces = data.faces()
    for row, (x, y) in enumerate(spots):
        faces.pool[row].image[:] = 0
        faces.pool[row].image[y - 1 : y + 2, x - 1 : x + 2] = 255

    def center(images):
        """Find the centre of mass of the white spot, (B, 1, 2)."""
        seen.append(len(images))
        weight = (images.mean(dim=1) + 1).clamp(min=0)
        grid = torch.arange(images.shape[-1], dtype=torch.float32)
        total = weight.sum(dim=(1, 2))
        x, y = (weight * grid).sum(dim=(1, 2)) / total, (weight * grid[:, None]).sum(dim=(1, 2)) / total
        return torch.stack((x, y), dim=-1)[:, None]

    chosen = frozenset(faces.names[:3])
    found = points_of_views(faces, chosen, center, views, torch.device("cpu"))
    assert set(found) == chosen
    assert seen == [3] * views
    for name, spot in zip(faces.names[:3], spots, strict=True):
        np.testing.assert_allclose(found[name][0].numpy(), spot, atol=0.1)


def test_views_label_all_positives_at_once_and_anew_at_each_refresh(tmp_path):
    mining = {"t_neg": None, "t_pos": 0.15}
    mining["human"] = shift_file(tmp_path / "human.csv", {f"pool {k}": 0.1 * k for k in range(6)})
    stored: list[tuple[int, dict]] = []

    class Watched(MetaCSKT):
        def _refresh(self):
            super()._refresh()
            stored.append((int(self.steps_done), dict(self._pool.entries)))
            with torch.no_grad():
                images = torch.from_numpy(np.stack([data.faces().pool[k].image for k in (0, 1)]))
                self.eval()
                expected = self.detect(images.permute(0, 3, 1, 2).float() / 127.5 - 1).points
                self.train()
            np.testing.assert_allclose(self.trainer.datamodule.labels.points[-2:], expected.numpy(), atol=1e-3)

    torch.manual_seed(5)
    data = NoiseFaces()
    method = Watched(TINY_HRNET, NAMES, steps=7, warmup_steps=1, mining=mining, refresh=3, views=1, lr=0.01)
    fitted(method, data, tmp_path)
    assert [step for step, _ in stored] == [1, 4, 7]
    assert all(set(entries) == {"pool 0", "pool 1"} for _, entries in stored)
    assert {entry.step for entry in stored[1][1].values()} == {4}


def test_shifts_are_measured_and_written_as_the_published_files(tmp_path):
    torch.manual_seed(1)
    human = LandmarkNet(TINY_HRNET, NAMES)
    path = tmp_path / "human.ckpt"
    state = {"state_dict": human.state_dict(), "hyper_parameters": dict(human.hparams)}
    torch.save({**state, "method": "landmark-net"}, path)
    data, method = NoiseFaces(), model(steps=1, mining={"t_neg": "q0.6", "t_pos": "q0.5", "network": str(path)})
    fitted(method, data, tmp_path)
    flips, humans = (read_shifts(tmp_path / "mining" / f"{name}.csv") for name in ("flip", "human"))
    start = model()
    for shifts in (flips, humans):
        assert list(shifts) == list(data.faces().names)
    image = torch.from_numpy(data.faces().pool[2].image).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        here, there = (start.eval().detect_with(start.base, one).points[0] for one in (image, image.flip(-1)))
        far = human.eval().detect_with(human.network, image).points[0]
    there = torch.stack((31 - there[:, 0], there[:, 1]), dim=-1)[[1, 0, 2]]
    assert flips["pool 2"] == pytest.approx(float((here - there).norm(dim=-1).mean()) / 32, abs=1e-4)
    human.flip_test = False
    with torch.no_grad():
        far = human.detect_with(human.network, image).points[0]
    assert humans["pool 2"] == pytest.approx(float((here - far).norm(dim=-1).mean()) / 32, abs=1e-4)
    mined = method._mined
    assert mined is not None
    assert mined.t_neg == pytest.approx(np.quantile(list(flips.values()), 0.6))


def test_a_resumed_training_equals_one_that_was_not_interrupted(tmp_path):
    shifts = {f"pool {k}": 0.1 * k for k in range(6)}
    files = {name: shift_file(tmp_path / f"{name}.csv", shifts) for name in ("flip", "human")}
    mining = {"t_neg": 0.45, "t_pos": 0.25, "every": 2, **files}
    options = {"steps": 8, "warmup_steps": 1, "mining": mining, "refresh": 2, "ema_half_life": 3.0}
    whole = fitted(model(**options), NoiseFaces(), tmp_path / "whole")
    trainer = trainer_of(tmp_path / "first", 4)
    trainer.fit(model(**options), NoiseFaces())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    second, data = model(**options), NoiseFaces()
    resumed = trainer_of(tmp_path / "second", 100)
    resumed.fit(second, data, ckpt_path=tmp_path / "half.ckpt", weights_only=False)
    assert int(second.steps_done) == int(whole.steps_done) == 8
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)
    finished = model(**options)
    resumed.save_checkpoint(tmp_path / "end.ckpt")
    trainer_of(tmp_path / "third", 100).fit(finished, NoiseFaces(), ckpt_path=tmp_path / "end.ckpt", weights_only=False)
    assert int(finished.steps_done) == 8  # there is nothing left to train
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(finished.state_dict()[name], value, rtol=0, atol=0)
    assert whole._pool is not None
    assert second._pool is not None
    assert {n: (e.step, e.points.tolist()) for n, e in second._pool.entries.items()} == {
        n: (e.step, e.points.tolist()) for n, e in whole._pool.entries.items()
    }


def test_a_training_does_not_go_on_with_other_labels(tmp_path):
    trainer = trainer_of(tmp_path, 2)
    trainer.fit(model(steps=8), NoiseFaces())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    data = NoiseFaces()
    data.faces().labelled[1].points[0] += 1
    for other in (data, NoiseFaces(labelled=2), NoiseFaces(pool=5)):
        with pytest.raises(CheckpointError, match="the labels or the unlabelled faces have changed"):
            trainer_of(tmp_path, 100).fit(model(steps=8), other, ckpt_path=tmp_path / "half.ckpt", weights_only=False)


@pytest.mark.parametrize(
    ("options", "data", "text"),
    [
        ({}, {"pool": 0}, "no unlabelled face: Meta-CSKT needs some"),
        ({"mining": {"t_neg": 0.2, "t_pos": None}}, {}, "'named' has no left/right pairs, so no flip shift"),
        ({"mining": {"t_neg": None}}, {}, "t_pos needs human shifts; set mining.human to a CSV file"),
        ({"landmarks": ["eye", "nose", "chin"]}, {}, "the faces have the landmarks a, b, c; the model eye, nose, chin"),
    ],
)
def test_what_cannot_be_trained_is_said(options, data, text, tmp_path):
    names = ["a", "b", "c"]
    given = {"landmarks": names, **options}
    with pytest.raises((ConfigError, DataError), match=text):
        fitted(model(**given), NoiseFaces(names=names, **data), tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 5, "warmup_steps": 5}, "nothing is left for the two networks"),
        ({"steps": 0}, "steps"),
        ({"mining": {"every": 0}}, "mining.every"),
        ({"mining": {"t_neg": "q90"}}, r"mining\.t_neg is 'q90'; expected a number of at least 0, a quantile"),
        ({"mining": {"t_pos": -0.1}}, r"mining\.t_pos is -0\.1; expected"),
        ({"evaluate": "both"}, "evaluate"),
        ({"landmarks": "animalweb"}, "unknown landmark scheme"),
    ],
)
def test_options_out_of_range_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        model(**options)


def test_one_label_is_enough(tmp_path):
    assert int(fitted(model(steps=2), NoiseFaces(labelled=1), tmp_path).steps_done) == 2


def test_files_of_shifts_are_checked_before_the_training(tmp_path):
    shifts = shift_file(tmp_path / "flip.csv", {f"pool {k}": 0.5 for k in range(6)})
    few = shift_file(tmp_path / "few.csv", {f"pool {k}": 0.1 for k in range(5)})
    for mining, text in (
        ({"t_pos": None, "flip": shifts}, r"t_neg 0\.2 drops all 6 faces"),
        ({"t_neg": None, "human": few}, "1 unlabelled face of 6 without human shift: pool 5"),
        ({"t_pos": None, "flip": str(tmp_path / "none.csv")}, "none.csv"),
    ):
        method = model(steps=3, warmup_steps=2, mining=mining)
        with pytest.raises((ConfigError, DataError), match=text):
            fitted(method, NoiseFaces(), tmp_path)
        assert int(method.steps_done) == 0


def test_a_threshold_that_turns_out_to_drop_all_faces_keeps_the_warm_up(tmp_path):
    options = {"steps": 4, "warmup_steps": 2}
    first = model(**options, mining={"t_neg": 0.0, "t_pos": None})
    with pytest.raises(ConfigError, match=r"t_neg 0\.0 drops all 6 faces.*the warm-up is kept: .* --ckpt_path .*last"):
        fitted(first, NoiseFaces(), tmp_path)
    last, second = tmp_path / "checkpoints" / "last.ckpt", model(**options, mining={"t_neg": "q0.9", "t_pos": None})
    trainer_of(tmp_path, 100).fit(second, NoiseFaces(), ckpt_path=last, weights_only=False)
    whole = fitted(model(**options, mining={"t_neg": "q0.9", "t_pos": None}), NoiseFaces(), tmp_path / "whole")
    assert int(second.steps_done) == 4
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=0, atol=0)


def test_votes_label_the_warm_up_and_choose_positives(tmp_path, monkeypatch):
    """An embedder whose embedding is the place of a pixel: each vote is the mean place of the labels."""

    class Places:
        def to(self, device):
            return self

        def embed(self, images):
            line = torch.linspace(-1, 1, images.shape[-1])
            grid = torch.stack(torch.meshgrid(line, line, indexing="xy"))
            return torch.cat((grid, torch.ones(1, *grid.shape[1:]))).expand(len(images), -1, -1, -1)

    monkeypatch.setattr("dife_lightning.methods.label_vote.load_embedder", lambda name: Places())
    data = NoiseFaces(labelled_batch=4)
    seen: list[tuple[int, tuple[str, ...]]] = []

    class Watched(MetaCSKT):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append((int(self.steps_done), self._data().labels.names))

    torch.manual_seed(5)
    votes = {"embedder": "places", "share": 0.5}
    mining = {"t_neg": None, "t_pos": "q1.0"}
    method = Watched(TINY_HRNET, NAMES, steps=6, warmup_steps=2, mining=mining, votes=votes, refresh=2, flip_test=False)
    fitted(method, data, tmp_path)
    true = ("few 0", "few 1", "few 2")
    warmup, teaching = seen[0][1], seen[2][1]
    assert warmup[:3] == true
    assert len(warmup) == 6  # half of the six unlabelled faces
    assert teaching == true  # the votes are labels of the warm-up alone
    shifts = read_shifts(tmp_path / "mining" / "votes.csv")
    assert list(shifts) == list(data.faces().names)
    voted = method._vote()[0][0]["pool 0"]
    mean = data.true_labels().points.mean(0)
    assert float((voted - torch.from_numpy(mean)).norm(dim=-1).max()) < 6  # of 32 px: near the mean direction


def test_a_network_of_imagenet_takes_the_place_of_the_hrnet(tmp_path, monkeypatch):
    from dife_lightning.methods import _heatmap_networks
    from dife_lightning.nn.mobile import MOBILENET_V2, MobileNet

    torch.manual_seed(3)
    known = MobileNet(MOBILENET_V2)
    monkeypatch.setattr(_heatmap_networks, "load_imagenet", lambda name: (known, None))
    backbone = {"name": "imagenet/mobilenet_v2", "side": 32, "rate": 0.0}
    method = MetaCSKT(TINY_HRNET, NAMES, steps=3, warmup_steps=1, mining=NO_MINING, backbone=backbone, lr=0.01)
    fitted(method, NoiseFaces(), tmp_path)
    own, start = method.base.network.state_dict(), known.state_dict()
    assert all(torch.equal(own[name], start[name]) for name in start)  # a rate of 0 leaves ImageNet's weights
    assert method.base.out.weight.abs().max() > 0.005  # the others learn
    assert method.evaluated(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 8, 8)
    assert method.detect(torch.rand(2, 3, 32, 32)).points.shape == (2, 3, 2)


@pytest.mark.parametrize("several", [1, 2])
def test_a_backbone_that_stays_as_it_is_sees_the_faces_once_for_both_networks(tmp_path, several):
    class Apart(MetaCSKT):
        def _seen(self, part):
            return torch.cat((part.labelled, part.unlabelled))

    backbone, found = {"name": "imagenet/mobilenet_v2", "side": 32, "rate": 0.0}, []
    for kind in (MetaCSKT, Apart):
        torch.manual_seed(3)
        options = {"steps": 3, "mining": NO_MINING, "backbone": backbone, "lr": 0.01, "micro_batches": several}
        method = kind(TINY_HRNET, NAMES, **options)
        method.init_from = "photos/dife"
        found.append(fitted(method, NoiseFaces(), tmp_path / kind.__name__))
    shared, apart = (method.state_dict() for method in found)
    start = load("photos/dife").encoder.state_dict()["mix.0.2.weight"]
    assert not torch.allclose(shared["adaptation.mix.0.2.weight"], start, atol=1e-3)
    for name, value in shared.items():
        torch.testing.assert_close(value, apart[name], rtol=1e-3, atol=1e-4)


def test_start_weights_are_taken_by_the_names_of_the_points(tmp_path, capsys):
    torch.manual_seed(1)
    human = LandmarkNet(TINY_HRNET, ["left_eye", "right_eye", "nose", "chin"])
    path = tmp_path / "human.ckpt"
    state = {"state_dict": human.state_dict(), "hyper_parameters": dict(human.hparams)}
    torch.save({**state, "method": "landmark-net"}, path)
    animal = LandmarkNet(TINY_HRNET, ["nose", "right_eye", "left_eye", "left_ear"], left="subject")
    fresh = animal.network.head[3].weight.detach().clone()
    animal.start(animal.network, str(path))
    assert torch.equal(animal.network.conv1.weight, human.network.conv1.weight)
    # the animal's own right eye is at the viewer's left
    for row, there in enumerate([2, 0, 1]):
        assert torch.equal(animal.network.head[3].weight[row], human.network.head[3].weight[there])
    assert torch.equal(animal.network.head[3].weight[3], fresh[3])
    assert "left_ear start untrained" in capsys.readouterr().err


def test_an_embedder_is_a_start_but_for_its_last_layer(tmp_path, capsys):
    backbone = {"name": "imagenet/mobilenet_v2", "side": 32}
    names = [f"point_{k}" for k in range(16)]  # as many as the embedding has channels
    method = LandmarkNet(TINY_HRNET, names, backbone=backbone)
    method.start(method.network, "photos/dife")
    encoder = load("photos/dife").encoder
    for key, value in encoder.state_dict().items():
        assert torch.equal(method.network.state_dict()[key], value) == (not key.startswith("out."))
    assert "start untrained" in capsys.readouterr().err
    small = LandmarkNet(TINY_HRNET, NAMES)
    with pytest.raises(CheckpointError, match="has an HRNet"):
        small.start(small.network, "photos/dife")


def test_bfloat16_trains_and_keeps_float32_weights(tmp_path):
    method = fitted(model(steps=3, warmup_steps=1, ema_half_life=2.0), NoiseFaces(), tmp_path, precision="bf16-mixed")
    assert int(method.steps_done) == 3
    assert {parameter.dtype for parameter in method.parameters()} == {torch.float32}
    assert all(bool(value.isfinite().all()) for value in method.state_dict().values())
    assert method.eval().detect(torch.rand(1, 3, 32, 32)).points.dtype == torch.float32


def test_two_processes_need_a_strategy_that_allows_unused_parameters():
    from types import SimpleNamespace

    from lightning.pytorch.strategies import DDPStrategy

    from dife_lightning.utils.distributed import check_strategy

    with pytest.raises(ConfigError, match=r"needs --trainer\.strategy ddp_find_unused_parameters_true"):
        check_strategy(SimpleNamespace(strategy=DDPStrategy()), "MetaCSKT")
    check_strategy(SimpleNamespace(strategy=DDPStrategy(find_unused_parameters=True)), "MetaCSKT")
    check_strategy(SimpleNamespace(strategy=None), "MetaCSKT")


@pytest.mark.slow
def test_two_processes_keep_equal_weights_and_share_the_labels(tmp_path):
    import subprocess
    import sys
    from pathlib import Path

    script = tmp_path / "train.py"
    script.write_text(
        """
import sys, torch, torch.distributed as dist
from dife_lightning.methods.meta_cskt import MetaCSKT
from tests.few_faces import NAMES, TINY_HRNET, NoiseFaces, trainer_of

folder, flip = sys.argv[1:]
torch.manual_seed(5)
mining = {"t_neg": None, "t_pos": 0.5, "human": flip, "every": 3}  # it ends when the faces have been sorted anew
method = MetaCSKT(TINY_HRNET, NAMES, steps=5, warmup_steps=2, mining=mining, refresh=2, lr=0.01)
data = NoiseFaces(pool=8)
trainer = trainer_of(folder, 100, strategy="ddp_find_unused_parameters_true", devices=2)
trainer.fit(method, data)
sums = torch.stack([p.detach().double().sum() for p in method.parameters()])
every = [torch.zeros_like(sums) for _ in range(2)]
dist.all_gather(every, sums)
assert torch.equal(*every), "the processes have other weights"
labels = [None, None]
dist.all_gather_object(labels, (data.labels.names, data.labels.points.tolist()))
assert labels[0] == labels[1] and len(labels[0][0]) > 3, labels
print("equal")
"""
    )
    shifts = shift_file(tmp_path / "human.csv", {f"pool {k}": 0.1 for k in range(8)})
    words = [sys.executable, str(script), str(tmp_path), shifts]
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=root, env={**os.environ, **environment}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("equal") == 2


def test_a_result_says_which_faces_the_model_was_trained_on(tmp_path):
    class Told(NoiseFaces):
        def _make_faces(self):
            found = super()._make_faces()
            facts = {"kind": "Told", "labelled": {"dog": 3}, "pool": 6, "transductive": True, "domains": {"a": "long"}}
            return type(found)(found.labelled, found.pool, found.names, found.scheme, facts)

    trainer = trainer_of(tmp_path, 100)
    trainer.fit(model(steps=1), Told())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    kept = torch.load(tmp_path / "a.ckpt", weights_only=False)["training_faces"]
    assert kept == {"kind": "Told", "labelled": {"dog": 3}, "pool": 6, "transductive": True}
    again = model(steps=1)
    again.on_load_checkpoint({"training_faces": kept})
    assert again.facts == {"training_faces": kept}
