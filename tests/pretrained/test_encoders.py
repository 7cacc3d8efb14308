"""An encoder that is loaded alone embeds as its whole method does, and hostile files are refused just as well."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import dife_lightning as dl
from dife_lightning.errors import AssetError, CheckpointError
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.pretrained.encoders import load_encoder
from dife_lightning.weights.assets import find_asset


def test_the_encoder_alone_embeds_as_the_whole_dife():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole, alone = dl.load("photos/dife"), load_encoder("photos/dife")
    with torch.no_grad():
        expected = whole.embed(images)
    torch.testing.assert_close(alone.embed(images), expected, atol=1e-5, rtol=0)
    assert (alone.dim, alone.name) == (whole.dim, "photos/dife")
    assert load_encoder("photos/dife").module is alone.module


@pytest.mark.parametrize(("load", "shipped"), [(load_encoder, "photos/dife"), (load_embedder, "world/teacher")])
def test_an_embedder_has_the_name_it_was_asked_for_whoever_loaded_its_file_before(load, shipped):
    path = str(find_asset(shipped))
    by_path, by_name = load(path), load(shipped)
    assert (by_path.name, by_name.name) == (path, shipped)
    assert by_path.module is by_name.module


def test_other_embedders_are_loaded_whole():
    assert load_encoder("world/teacher").module is load_embedder("world/teacher").module


def test_a_match_does_not_import_lightning():
    """Its import takes longer than all that a match does."""
    code = (
        "import numpy as np, sys\n"
        "import dife_lightning as dl\n"
        "photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)\n"
        "dl.match(photo, photo, faces=('whole', 'whole'), size=32)\n"
        "print(sorted({'lightning', 'torchmetrics', 'albumentations', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": {"backbone": "imagenet/mobilenet_v2", "side": 128, "code": "x"}}, "no option 'code'"),
        ({"encoder": {"planes": [10**6, 10**6, 10**6], "blocks": 10**7}}, "larger|do not fit|expects"),
        ({"dim": 32}, "expects"),
        ({"dim": "16"}, "expected a number"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, change, said):
    content = torch.load(find_asset("photos/dife"), weights_only=True)
    content["hyper_parameters"] |= change
    torch.save(content, tmp_path / "edited.ckpt")
    with pytest.raises(CheckpointError, match=said):
        load_encoder(tmp_path / "edited.ckpt")


def test_a_missing_model_is_named():
    with pytest.raises(AssetError, match="photos/dive"):
        load_encoder("photos/dive")
