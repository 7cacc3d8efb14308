from __future__ import annotations

import csv
import json

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import Logger

from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import MatcherModule
from dife_lightning.metrics.bootstrap import bootstrap_ci
from dife_lightning.metrics.predictions import read_predictions

SHIFT = 3.0 * 70 / 32  # what the offset matcher is wrong by, in the paper's unit


def test_validation_logs_the_mean_over_kinds_of_pair(trainer, blobs, offset_matcher):
    runner = trainer(KeypointTransfer(val_pictures=0))
    runner.validate(offset_matcher(), datamodule=blobs(), verbose=False)
    logged = {key: float(value) for key, value in runner.callback_metrics.items()}
    assert logged["val/pixel_error"] == pytest.approx(SHIFT, rel=1e-5)
    for pair in ("human+dog", "dog+cat"):
        for protocol in ("9-point", "3-point"):
            assert logged[f"val/{pair}/jittered/{protocol}/pixel_error"] == pytest.approx(SHIFT, rel=1e-5)
            assert logged[f"val/{pair}/jittered/{protocol}/pck_image_10"] == pytest.approx(1.0, abs=0.05)
    assert logged["val/human+dog/jittered/9-point/landmark/nose"] == pytest.approx(SHIFT, rel=1e-5)
    assert not any("." in key for key in logged)


def test_headline_weights_kinds_of_pair_equally_and_prefers_jittered(trainer, blobs, offset_matcher):
    class Uneven(offset_matcher):
        def transfer_batch(self, batch, matching):
            return batch.target_points + torch.tensor([{"human+dog": 1.0, "dog+cat": 3.0}[batch.pair], 0.0])

    runner = trainer(KeypointTransfer(val_pictures=0))
    runner.validate(Uneven(), datamodule=blobs(), verbose=False)
    assert float(runner.callback_metrics["val/pixel_error"]) == pytest.approx(2 * 70 / 32, rel=1e-5)


def test_the_best_checkpoint_is_chosen_by_the_logged_error(trainer, blobs, offset_matcher, tmp_path):
    class Worsening(offset_matcher):
        def training_step(self, batch, batch_idx):
            self.offset += 1.0
            return self.weight.sum()

    class Data(blobs):
        def train_dataloader(self):
            return torch.utils.data.DataLoader([0])

    best = ModelCheckpoint(tmp_path, monitor="val/pixel_error", filename="s{step}", auto_insert_metric_name=False)
    runner = trainer(KeypointTransfer(val_pictures=2), best, enable_checkpointing=True, max_epochs=3)
    runner.fit(Worsening(), datamodule=Data())
    assert best.best_model_path.endswith("s1.ckpt")
    assert float(best.best_model_score) == pytest.approx(4.0 * 70 / 32, rel=1e-5)
    assert (tmp_path / "eval" / "pictures" / "val_human+dog_val_jittered.png").stat().st_size > 1000


def test_a_test_writes_rows_that_the_predictions_confirm(trainer, blobs, offset_matcher, tmp_path):
    class Noisy(offset_matcher):
        def transfer_batch(self, batch, matching):
            noise = torch.sin(batch.source_points * 7) * 4
            return batch.target_points + noise

    runner = trainer(KeypointTransfer(resamples=200, out_dir=str(tmp_path / "out"), method="noisy"))
    runner.test(Noisy(), datamodule=blobs(), verbose=False)
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        table = list(csv.DictReader(file))
    keys = [(row["pair"], row["protocol"], row["framing"], row["list"]) for row in result["rows"]]
    assert len(keys) == len(set(keys)) == 4
    for row in result["rows"]:
        cells = [
            cell
            for cell in table
            if cell["visible"] == "1" and (cell["framing"], cell["protocol"]) == (row["framing"], row["protocol"])
        ]
        moved = [
            (float(c["predicted_x"]) - float(c["truth_x"]), float(c["predicted_y"]) - float(c["truth_y"]))
            for c in cells
        ]
        assert row["method"] == "noisy"
        assert row["points"] == len(cells)
        assert row["pixel_error"] == pytest.approx(np.hypot(*np.array(moved).T).mean() * 70 / 32, abs=1e-3)
        assert row["ci95"][0] < row["pixel_error"] < row["ci95"][1]
        assert row["list_hash"] == "abc"
    assert (tmp_path / "out" / "pictures" / "test_human+dog_long_plain.png").exists()


def test_results_record_both_lists_and_all_switches(trainer, blobs, offset_matcher, tmp_path):
    runner = trainer(KeypointTransfer(similarity="cosine", subpixel=True, pictures=0, resamples=100))
    runner.test(offset_matcher(), datamodule=blobs(), verbose=False)
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert set(result["lists"]) == {"val", "test"}
    assert result["switches"]["similarity"] == "cosine"
    assert result["switches"]["subpixel"] is True
    assert result["switches"]["image_size"] == 32
    assert result["switches"]["bootstrap"]["over"] == "pairs"


def test_the_order_of_eyes_is_recorded(trainer, blobs, offset_matcher, tmp_path):
    found = []
    for order in ("viewer", "stored"):
        callback = KeypointTransfer(pictures=0, resamples=100)
        trainer(callback).test(offset_matcher(), datamodule=blobs(eye_order=order), verbose=False)
        switches = json.loads((tmp_path / "metrics.json").read_text())["switches"]
        assert switches["eye_order"] == order
        found.append(switches["eye_convention"])
    assert found == ["left is the viewer's left", "left as each data set stores it"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_the_data_module_says_of_itself_and_its_lists_lie_beside_the_numbers(
    trainer, blobs, offset_matcher, tmp_path, wrapped
):
    class Told(blobs):
        def describe(self):
            return {"crop": {"factor": 2.8}}

        def save_lists(self, folder):
            folder.mkdir()
            (folder / "test.json").write_text("[]")

    class Stream(L.LightningDataModule):
        def __init__(self):
            super().__init__()
            self.evaluation = Told()
            self.setup, self.test_dataloader = self.evaluation.setup, self.evaluation.test_dataloader

    data = Stream() if wrapped else Told()
    trainer(KeypointTransfer(pictures=0, resamples=100)).test(offset_matcher(), datamodule=data, verbose=False)
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert result["data"] == {"crop": {"factor": 2.8}}
    assert result["lists"] == {"val": {"human+dog/val": "v"}, "test": {"human+dog/long": "abc"}}
    assert (tmp_path / "lists" / "test.json").exists()


def test_lists_of_which_nothing_but_the_pairs_is_known_are_those_of_the_test(trainer, blobs, offset_matcher, tmp_path):
    data = blobs()
    data.setup("test")
    callback = KeypointTransfer(pictures=0, resamples=100)
    trainer(callback).test(offset_matcher(), dataloaders=data.test_dataloader(), verbose=False)
    found = json.loads((tmp_path / "metrics.json").read_text())["lists"]
    assert found == {"test": {"human+dog/long/jittered": "abc", "human+dog/long/plain": "abc"}}


def test_only_the_protocols_of_the_pairs_are_reported(trainer, blobs, offset_matcher, tmp_path):
    callback = KeypointTransfer(pictures=1, resamples=100)
    trainer(callback).test(offset_matcher(), datamodule=blobs(protocols=["3-point"]), verbose=False)
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert {row["protocol"] for row in rows} == {"3-point"}
    runner = trainer(KeypointTransfer(val_pictures=0))
    runner.validate(offset_matcher(), datamodule=blobs(protocols=["3-point"]), verbose=False)
    assert float(runner.callback_metrics["val/pixel_error"]) == pytest.approx(SHIFT, rel=1e-5)


def test_pairs_without_a_protocol_of_the_callback_are_refused(trainer, blobs, offset_matcher):
    runner = trainer(KeypointTransfer(protocols=["9-point"]))
    with pytest.raises(ConfigError, match="'human\\+dog/val/jittered' have 3-point landmarks, not 9-point"):
        runner.validate(offset_matcher(), datamodule=blobs(protocols=["3-point"]), verbose=False)


def test_each_callback_scores_with_its_own_matching_options_and_leaves_none_behind(
    trainer, blobs, offset_matcher, tmp_path
):
    class Asked(offset_matcher):
        def transfer_batch(self, batch, matching=MatchingOptions()):  # noqa: B008 - frozen
            return batch.target_points + torch.tensor([{"dot": 1.0, "cosine": 2.0}[matching.similarity], 0.0])

    method, data = Asked(), blobs()
    folders = {name: tmp_path / name for name in ("dot", "cosine")}
    several = [KeypointTransfer(similarity=name, out_dir=str(folder)) for name, folder in folders.items()]  # type: ignore[arg-type]
    trainer(*several).test(method, datamodule=data, verbose=False)
    found = {name: json.loads((folder / "metrics.json").read_text()) for name, folder in folders.items()}
    for name, pixels in (("dot", 1.0), ("cosine", 2.0)):
        assert found[name]["switches"]["similarity"] == name
        assert found[name]["rows"][0]["pixel_error"] == pytest.approx(pixels * 70 / 32, rel=1e-5)
    batch = next(iter(data.test_dataloader()[0]))
    torch.testing.assert_close(method.transfer_batch(batch), batch.target_points + torch.tensor([1.0, 0.0]))
    assert "similarity" not in method.hparams


def test_what_transfers_no_points_cannot_be_scored(trainer, blobs, offset_matcher):
    class Wordy(offset_matcher):
        def transfer_batch(self, batch, matching):
            return "left of the nose"

    with pytest.raises(ConfigError, match="transfer_batch of Wordy returned str"):
        trainer(KeypointTransfer(val_pictures=0)).validate(Wordy(), datamodule=blobs(), verbose=False)


def test_a_partial_validation_is_scored_on_what_was_seen(trainer, blobs, offset_matcher):
    runner = trainer(KeypointTransfer(val_pictures=0), limit_val_batches=1)
    runner.validate(offset_matcher(), datamodule=blobs(), verbose=False)
    assert float(runner.callback_metrics["val/pixel_error"]) == pytest.approx(SHIFT, rel=1e-5)


def test_a_set_without_visible_points_is_named(trainer, blobs, offset_matcher):
    class Blind(blobs):
        def setup(self, stage):
            super().setup(stage)
            for sets in self.val_sets:
                sets.prepared = [replace_visible(sets[i]) for i in range(len(sets))]

    def replace_visible(item):
        from dataclasses import replace

        return replace(item, visible=np.zeros_like(item.visible))

    with pytest.raises(DataError, match="no visible point in 'human\\+dog/val/jittered'"):
        trainer(KeypointTransfer()).validate(offset_matcher(), datamodule=Blind(), verbose=False)


def test_loggers_that_take_pictures_get_them_and_csv_does_not_mind(trainer, blobs, offset_matcher, tmp_path):
    class Album(Logger):
        name, version = "album", 0

        def __init__(self):
            super().__init__()
            self.images = []

        def log_metrics(self, metrics, step=None): ...

        def log_hyperparams(self, *args, **kwargs): ...

        def log_image(self, key, images, step=None):
            self.images.append((key, images[0].shape, images[0].dtype))

    album = Album()
    runner = trainer(KeypointTransfer(val_pictures=2), logger=[CSVLogger(tmp_path), album])
    runner.validate(offset_matcher(), datamodule=blobs(), verbose=False)
    assert [key for key, _, _ in album.images] == ["val/human+dog/jittered", "val/dog+cat/jittered"]
    assert album.images[0][1][2] == 3
    assert album.images[0][2] == np.uint8


def test_a_module_that_transfers_no_points_is_explained(trainer, blobs):
    class Silent(L.LightningModule):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            return {"loss": 0}

    with pytest.raises(ConfigError, match="Silent transfers no points"):
        trainer(KeypointTransfer()).validate(Silent(), datamodule=blobs(), verbose=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarity": "l2"}, "Known: cosine, dot"),
        ({"protocols": ["5-point"]}, "5-point"),
        ({"resamples": 1}, ">= 100"),
    ],
)
def test_senseless_settings_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        KeypointTransfer(**arguments)


def test_intervals_are_over_photos_where_they_are_in_several_pairs(trainer, blobs, tmp_path):
    class Noisy(MatcherModule):
        def transfer_batch(self, batch, matching=None):
            return batch.target_points + batch.index[:, None, None] % 3

    units = [(f"human/{i % 3}", f"dog/{i % 2}") for i in range(7)]
    rows = {}
    for name, given in (("photos", units), ("pairs", [(f"{i}", f"{i}") for i in range(7)]), ("none", None)):

        class Repeated(blobs):
            def setup(self, stage, given=given):
                self.test_sets = [self._set("human+dog", "long", "plain", 7)]
                self.test_sets[0].units = given

        out = tmp_path / name
        callback = KeypointTransfer(pictures=0, resamples=500, out_dir=str(out))
        trainer(callback).test(Noisy(), datamodule=Repeated(), verbose=False)
        result = json.loads((out / "metrics.json").read_text())
        rows[name] = next(row for row in result["rows"] if row["protocol"] == "9-point")
        over = "photos" if name == "photos" else "pairs"
        assert (rows[name]["interval"], result["switches"]["bootstrap"]["over"]) == (over, over)
        (table,) = [t for key, t in read_predictions(out / "predictions.csv").items() if key[3] == "9-point"]
        assert (None if table.units is None else table.units.tolist()) == (given and [list(pair) for pair in given])
        assert rows[name]["ci95"] == pytest.approx(
            bootstrap_ci(table.errors, table.visible, resamples=500, units=table.units), abs=1e-5
        )
    assert rows["pairs"]["ci95"] == rows["none"]["ci95"] != rows["photos"]["ci95"]
    assert rows["photos"]["pixel_error"] == rows["none"]["pixel_error"]
