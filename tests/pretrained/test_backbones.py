from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from dife_lightning.errors import AssetError, CheckpointError, ConfigError
from dife_lightning.nn.backbone import BackboneOptions
from dife_lightning.pretrained import embedders
from dife_lightning.pretrained.backbones import backbone_name, find_model, load_backbone, parse_backbone
from dife_lightning.pretrained.embedders import load_embedder
from tests.pretrained.tiny_backbones import PIXELS, write_backbone

transformers = pytest.importorskip("transformers", reason="the extra 'backbones' is not installed")
#: Tokens before the patches: the class, and registers.
LEADING = {"dinov2": 1, "dinov2-registers": 4, "dinov3": 5, "vit": 1}
RAW = "?upsample=false&unit_length=false"


def images(height: int, width: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1


def normalised(batch: Tensor) -> Tensor:
    """What the network is to see of a batch in [-1, 1], with ImageNet's statistics."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (((batch + 1) * 127.5 / 255).permute(0, 2, 3, 1) - mean).div(std).permute(0, 3, 1, 2)


@torch.no_grad()
def directly(folder: str, batch: Tensor) -> tuple[Any, Any]:
    model = transformers.AutoModel.from_pretrained(folder).eval()
    more = {"interpolate_pos_encoding": True} if model.config.model_type == "vit" else {}
    return model, model(normalised(batch), output_hidden_states=True, **more)


def laid_out(tokens: Tensor, leading: int, rows: int, columns: int) -> Tensor:
    found = torch.empty(tokens.shape[0], tokens.shape[2], rows, columns)
    for row in range(rows):
        for column in range(columns):
            found[:, :, row, column] = tokens[:, leading + row * columns + column]
    return found


@pytest.mark.parametrize("kind", LEADING)
@pytest.mark.parametrize(("height", "width"), [(28, 28), (28, 70), (56, 28)])
def test_the_map_is_the_patch_tokens_of_the_network_in_their_places(kind, height, width, tmp_path):
    folder = write_backbone(tmp_path / "model", kind)
    _, output = directly(folder, images(height, width))
    with torch.no_grad():
        found = load_backbone(f"backbone:{folder}{RAW}").embed(images(height, width))
    assert output.last_hidden_state.shape[1] == LEADING[kind] + height * width // 14**2
    expected = laid_out(output.last_hidden_state, LEADING[kind], height // 14, width // 14)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kind", "norm"), [("dinov2", "layernorm"), ("dinov3", "norm"), ("vit", "layernorm")])
def test_a_layer_in_between_goes_through_the_final_norm_as_the_last_one_does(kind, norm, tmp_path):
    folder = write_backbone(tmp_path / "model", kind)
    model, output = directly(folder, images(28, 42))
    with torch.no_grad():
        found = {
            layer: load_backbone(f"backbone:{folder}{RAW}&layer={layer}").embed(images(28, 42)) for layer in (1, -2, 3)
        }
        between = {layer: getattr(model, norm)(output.hidden_states[layer]) for layer in (1, 2)}
    for layer, tokens in ((1, between[1]), (-2, between[2]), (3, output.last_hidden_state)):
        torch.testing.assert_close(found[layer], laid_out(tokens, LEADING[kind], 2, 3), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["resnet", "convnext"])
@pytest.mark.parametrize(("layer", "channels", "stride"), [(1, 8, 4), (3, 16, 16), (-1, 20, 32)])
def test_a_convolutional_network_gives_the_map_of_the_stage_that_is_asked_for(kind, layer, channels, stride, tmp_path):
    folder = write_backbone(tmp_path / "model", kind)
    _, output = directly(folder, images(64, 96))
    backbone = load_backbone(f"backbone:{folder}{RAW}&side=64&layer={layer}")
    with torch.no_grad():
        found = backbone.embed(images(64, 96))
    assert (backbone.dim, backbone.stride) == (channels, stride)
    assert found.shape[1:] == (channels, 64 // stride, 96 // stride)
    torch.testing.assert_close(found, output.hidden_states[layer], atol=1e-4, rtol=1e-4)


def test_windows_are_put_together_to_a_map(tmp_path):
    folder = write_backbone(tmp_path / "model", "swin")
    _, output = directly(folder, images(32, 32))
    with torch.no_grad():
        found = load_backbone(f"backbone:{folder}{RAW}&side=32&layer=1").embed(images(32, 32))
    torch.testing.assert_close(found, output.reshaped_hidden_states[1], atol=1e-4, rtol=1e-4)


def test_images_of_any_side_are_resized_by_a_cubic_and_keep_their_ratio(tmp_path):
    folder = write_backbone(tmp_path / "model")
    batch = images(20, 31, 1)
    rows = [
        Image.fromarray(channel.numpy(), mode=None).resize((42, 28), Image.Resampling.BICUBIC) for channel in batch[0]
    ]
    resized = torch.from_numpy(np.stack([np.asarray(row) for row in rows]))[None].clamp(-1, 1)
    _, output = directly(folder, resized)
    with torch.no_grad():
        found = load_backbone(f"backbone:{folder}{RAW}").embed(batch)
    torch.testing.assert_close(found, laid_out(output.last_hidden_state, 1, 2, 3), atol=1e-3, rtol=1e-3)


def test_by_default_the_map_comes_in_the_images_size_and_in_unit_length(tmp_path):
    folder = write_backbone(tmp_path / "model")
    with torch.no_grad():
        coarse = load_backbone(f"backbone:{folder}{RAW}").embed(images(28, 28))
        long = load_backbone(f"backbone:{folder}?unit_length=false").embed(images(28, 28))
        found = load_backbone(f"backbone:{folder}").embed(images(28, 28))
    assert found.shape == (2, 16, 28, 28)
    for y, x in ((0, 0), (13, 5), (14, 27), (20, 9)):  # a pixel lies between the centres of four patches of 14 px
        at = [min(max((v + 0.5) / 14 - 0.5, 0.0), 1.0) for v in (y, x)]
        weights = torch.outer(torch.tensor([1 - at[0], at[0]]), torch.tensor([1 - at[1], at[1]]))
        expected = (coarse * weights).sum(dim=(2, 3))
        torch.testing.assert_close(long[:, :, y, x], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            found[:, :, y, x], expected / expected.norm(dim=1, keepdim=True), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 0.1]},
            lambda x: (x - [0.5, 0.4, 0.3]) / [0.5, 0.2, 0.1],
        ),
        ({"do_normalize": False}, lambda x: x),
        ({"do_normalize": False, "do_rescale": False}, lambda x: x * 255),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, lambda x: x * 2),
        ({"do_normalize": False, "do_flip_channel_order": True}, lambda x: x[..., ::-1]),
    ],
)
def test_pixels_are_normalised_as_the_model_says(changes, expected, tmp_path):
    folder = write_backbone(tmp_path / "model", pixels={**PIXELS, **changes})
    backbone = load_backbone(f"backbone:{folder}")
    seen = []
    backbone.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        backbone.embed(images(28, 28))
    pixels = np.moveaxis((images(28, 28).double().numpy() + 1) / 2, 1, 3)
    np.testing.assert_allclose(np.moveaxis(seen[0].numpy(), 1, 3), expected(pixels), atol=1e-4 * 255)


@pytest.mark.parametrize(
    ("changes", "side"),
    [
        ({}, 28),
        ({"do_center_crop": False}, 28),  # 32, down to a multiple of the patch
        ({"crop_size": {"height": 56, "width": 56}}, 56),
        ({"crop_size": None, "size": {"height": 70, "width": 42}}, 42),
        ({"crop_size": None, "size": 60}, 56),
        ({"crop_size": None, "size": None}, 42),  # the configuration's image_size
    ],
)
def test_the_side_is_the_one_that_the_model_asks_for(changes, side, tmp_path):
    folder = write_backbone(tmp_path / "model", pixels={**PIXELS, **changes})
    assert load_backbone(f"backbone:{folder}").side == side
    assert load_backbone(f"backbone:{folder}?side=84").side == 84


def test_a_model_that_does_not_say_how_it_sees_gets_imagenets_statistics_and_a_warning(tmp_path):
    folder = write_backbone(tmp_path / "model", pixels=None)
    with pytest.warns(UserWarning, match="has no preprocessor_config.json: images are normalised with ImageNet's"):
        backbone = load_backbone(f"backbone:{folder}{RAW}&side=28")
    _, output = directly(folder, images(28, 28))
    with torch.no_grad():
        found = backbone.embed(images(28, 28))
    torch.testing.assert_close(found, laid_out(output.last_hidden_state, 1, 2, 2), atol=1e-4, rtol=1e-4)


def test_weights_in_half_precision_are_computed_with_in_full(tmp_path):
    folder = write_backbone(tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    save_file({key: value.half() for key, value in load_file(file).items()}, file, {"format": "pt"})
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    backbone = load_backbone(f"backbone:{folder}")
    assert {value.dtype for value in backbone.parameters()} == {torch.float32}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = backbone.embed(images(28, 28))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 28, 28))


def test_a_name_with_options_is_taken_apart_and_put_together():
    options = BackboneOptions(layer=9, side=448, upsample=False, unit_length=False)
    name = "backbone:facebook/dinov2-small@abc?layer=9&side=448&upsample=false&unit_length=false"
    assert backbone_name("facebook/dinov2-small@abc", options) == name
    assert parse_backbone(name) == ("facebook/dinov2-small@abc", options)
    assert backbone_name("a/b", BackboneOptions()) == "backbone:a/b"
    assert parse_backbone("backbone:a/b") == ("a/b", BackboneOptions())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backbone:", "names no model: type for example backbone:facebook/dinov2-small"),
        ("backbone:a/b?layers=3", "no option 'layers'. Did you mean 'layer'"),
        ("backbone:a/b?layer=last", "layer is 'last', expected a whole number"),
        ("backbone:a/b?upsample=1", "upsample is '1', expected true or false"),
    ],
)
def test_names_that_say_nothing_sensible_are_refused(name, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        parse_backbone(name)


@pytest.mark.parametrize(
    ("kind", "query", "message"),
    [
        ("dinov2", "side=30", "side 30: Dinov2Model takes multiples of its patch of 14 px"),
        ("dinov2", "side=0", "side is 0; expected at least 1"),
        ("dinov2", "layer=4", "layer 4: Dinov2Model has layers 0 to 3"),
        ("resnet", "side=36", "side 36: ResNetModel gives 2 x 2 cells for 36 x 36 px; expected .* multiple of 32"),
        ("resnet", "side=225", "side 225: ResNetModel gives 8 x 8 cells for 225 x 225 px"),
        ("convnext", "side=36", "side 36: ConvNextModel gives 1 x 1 cells"),
        ("bert", "", "BertModel takes 'input_ids', not images: no spatial map"),
        ("vit-mae", "", r"ViTMAEModel gives no spatial map: found \(1, 2, 16\) for 4 patches"),
    ],
)
def test_options_and_networks_that_give_no_map_are_told(kind, query, message, tmp_path):
    folder = write_backbone(tmp_path / "model", kind)
    with pytest.raises(ConfigError, match=message):
        load_backbone(f"backbone:{folder}?{query}")


# Where it is looked for


def test_a_holder_is_loaded_once_unless_the_weights_change(tmp_path):
    name = f"backbone:{write_backbone(tmp_path / 'model')}"
    holder = load_embedder(name)
    assert load_embedder(name).module is holder.module
    assert load_embedder(f"{name}?layer=1").module is not holder.module
    assert (holder.dim, holder.embed(images(28, 28)).requires_grad) == (16, False)
    os.utime(tmp_path / "model/model.safetensors", (1, 1))
    assert load_embedder(name).module is not holder.module


def test_own_names_stand_for_folders(tmp_path, monkeypatch):
    write_backbone(tmp_path / "model")
    (tmp_path / "paths.yaml").write_text("dino: model\n")
    monkeypatch.setenv("DIFE_PATHS", str(tmp_path / "paths.yaml"))
    assert load_backbone("backbone:own/dino").dim == 16
    with pytest.raises(AssetError, match="no entry for 'own/vit'"):
        load_backbone("backbone:own/vit")


def cached(home: Path, name: str = "some/model", commit: str = "a" * 40, **options: Any) -> Path:
    """Write a model into a cache of the hub, in its layout."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    write_backbone(snapshot, **options)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs/main").write_text(commit)
    return snapshot


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub, and whom the hub was asked for; it answers with the error that is set."""
    import huggingface_hub

    asked: list[str] = []
    answer: list[Exception] = [huggingface_hub.errors.LocalEntryNotFoundError("no network")]

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append(name)
        assert not [pattern for pattern in options["allow_patterns"] if pattern.endswith((".bin", ".py", "*"))]
        raise answer[0]

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return tmp_path, asked, answer


def test_the_users_cache_is_enough_without_a_network(hub):
    home, asked, _ = hub
    snapshot = cached(home)
    assert find_model("some/model") == snapshot
    older = cached(home, commit="b" * 40)
    assert find_model(f"some/model@{'a' * 40}") == snapshot
    assert find_model("some/model") == older
    assert load_backbone("backbone:some/model?layer=2").dim == 16
    assert asked == []


def test_a_cache_without_the_weights_is_not_enough(hub):
    home, asked, _ = hub
    (cached(home) / "model.safetensors").unlink()
    with pytest.raises(AssetError, match="nothing in the cache"):
        find_model("some/model")
    assert asked == ["some/model"]


def test_hf_home_says_where_the_cache_is(tmp_path):
    snapshot = cached(tmp_path)
    code = "from dife_lightning.pretrained.backbones import find_model; print(find_model('some/model'))"
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    environment.pop("HF_HUB_CACHE", None)
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout.strip() == str(snapshot), result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "LocalEntryNotFoundError",
            r"the hub is not reachable \(LocalEntryNotFoundError\); type `hf download some/model`",
        ),
        ("RepositoryNotFoundError", "the hub does not know it; check the name at https://huggingface.co/models"),
        ("RevisionNotFoundError", "the hub does not know it"),
        ("GatedRepoError", "accept its terms at https://huggingface.co/some/model, then type `hf auth login`"),
        ("HFValidationError", "it is no valid name on the hub; expected a name such as facebook/dinov2-small"),
    ],
)
def test_a_name_that_is_not_to_be_had_says_where_it_was_looked_for_and_what_to_type(error, message, hub):
    import huggingface_hub

    home, _, answer = hub
    kind = getattr(huggingface_hub.errors, error)
    answer[0] = kind.__new__(kind)
    where = f"no backbone 'some/model': no folder of that name, nothing in the cache {home / 'hub'}, and .*"
    with pytest.raises(AssetError, match=where + message) as caught:
        load_backbone("backbone:some/model")
    assert "\n" not in str(caught.value)


def test_a_path_is_never_asked_of_the_hub(hub, tmp_path):
    _, asked, _ = hub
    with pytest.raises(AssetError, match="there is no such folder"):
        load_backbone(f"backbone:{tmp_path}/nothing")
    with pytest.raises(AssetError, match="there is no such folder"):
        load_backbone("backbone:./nothing")
    assert asked == []


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AssetError, match=r"type: pip install 'dife-lightning\[backbones\]'"):
        load_backbone(f"backbone:{tmp_path}")


def test_neither_transformers_nor_its_hub_is_imported_with_the_package():
    # (torchmetrics, which the methods need, imports transformers by itself where it is installed)
    for path in Path(embedders.__file__).parent.rglob("*.py"):
        assert not re.findall(r"^(?:import|from) (transformers|huggingface_hub)", path.read_text(), re.M), path
    code = (
        "import sys, dife_lightning.pretrained.embedders, dife_lightning.pretrained.backbones; "
        "sys.exit(bool({'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


# What is in the folder


def test_a_folder_of_something_else_is_told(tmp_path):
    with pytest.raises(AssetError, match=r"has no config.json: give a folder that save_pretrained"):
        load_backbone(f"backbone:{tmp_path}")


def test_pickles_are_never_read(tmp_path):
    folder = write_backbone(tmp_path / "model")
    state = load_file(tmp_path / "model/model.safetensors")
    (tmp_path / "model/model.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"has no model\.safetensors, or not all of its parts; copy the whole folder"
    ):
        load_backbone(f"backbone:{folder}")
    torch.save(state, tmp_path / "model/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is not read, it could run code; save it again"):
        load_backbone(f"backbone:{folder}")


def test_weights_in_parts_are_read_if_all_are_there(tmp_path):
    folder = write_backbone(tmp_path / "model")
    with torch.no_grad():
        whole = load_backbone(f"backbone:{folder}").embed(images(28, 28))
    state = load_file(tmp_path / "model/model.safetensors")
    (tmp_path / "model/model.safetensors").unlink()
    parts = {f"model-0000{i + 1}-of-00002.safetensors": sorted(state)[i::2] for i in range(2)}
    for name, keys in parts.items():
        save_file({key: state[key] for key in keys}, tmp_path / "model" / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, keys in parts.items() for key in keys}}
    (tmp_path / "model/model.safetensors.index.json").write_text(json.dumps(index))
    with torch.no_grad():
        assert torch.equal(load_backbone(f"backbone:{folder}").embed(images(28, 28)), whole)
    (tmp_path / "model/model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not all of its parts"):
        load_backbone(f"backbone:{folder}")


@pytest.mark.parametrize("key", ["encoder.layer.1.mlp.fc1.weight", "embeddings.position_embeddings", "layernorm.bias"])
def test_a_network_that_would_be_partly_random_is_refused(key, tmp_path):
    folder = write_backbone(tmp_path / "model")
    file = tmp_path / "model/model.safetensors"
    state = load_file(file)
    assert key in state
    save_file({name: value for name, value in state.items() if name != key}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"no weights for 1 tensors of Dinov2Model, '{key}' first: a part of it"):
        load_backbone(f"backbone:{folder}")


def test_statistics_of_a_batch_norm_are_weights_too(tmp_path):
    folder = write_backbone(tmp_path / "model", "resnet")
    file = tmp_path / "model/model.safetensors"
    state = {name: value for name, value in load_file(file).items() if not name.endswith("running_var")}
    save_file(state, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match="running_var' first"):
        load_backbone(f"backbone:{folder}?side=64")


def test_what_no_map_goes_through_may_be_missing(tmp_path):
    folder = write_backbone(tmp_path / "model", "vit", pooler=False)
    _, output = directly(folder, images(28, 28))
    with torch.no_grad():
        found = load_backbone(f"backbone:{folder}{RAW}").embed(images(28, 28))
    torch.testing.assert_close(found, laid_out(output.last_hidden_state, 1, 2, 2), atol=1e-4, rtol=1e-4)


def test_weights_of_other_shapes_and_damaged_files_are_one_line(tmp_path):
    folder = write_backbone(tmp_path / "model")
    config = tmp_path / "model/config.json"
    content = json.loads(config.read_text())
    for change in ({"hidden_size": 32}, {"model_type": "never-heard-of"}, {"num_attention_heads": 3}):
        config.write_text(json.dumps({**content, **change}))
        with pytest.raises(CheckpointError, match="transformers cannot load") as caught:
            load_backbone(f"backbone:{folder}")
        assert "\n" not in str(caught.value)
    config.write_text(json.dumps(content))
    (tmp_path / "model/model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="transformers cannot load"):
        load_backbone(f"backbone:{folder}")
    config.write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is no JSON file"):
        load_backbone(f"backbone:{folder}")


def test_code_that_comes_with_a_model_is_never_run(tmp_path):
    folder = write_backbone(tmp_path / "model")
    (tmp_path / "model/modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: ...\n")
    config = json.loads((tmp_path / "model/config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "modeling_own.Own", "AutoModel": "modeling_own.Own"}}
    (tmp_path / "model/config.json").write_text(json.dumps({**config, **own}))
    with pytest.raises(CheckpointError, match="needs code of its own, which is never run here"):
        load_backbone(f"backbone:{folder}")
    for key in ("attn_implementation", "_attn_implementation"):
        for change in ({key: "someone/kernel"}, {"vision_config": {key: {"": "someone/kernel"}}}):
            (tmp_path / "model/config.json").write_text(json.dumps({**config, **change}))
            with pytest.raises(CheckpointError, match="asks for 'someone/kernel', code that is never downloaded"):
                load_backbone(f"backbone:{folder}")
    assert not (tmp_path / "ran").exists()
