from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dife_lightning.errors import CheckpointError
from dife_lightning.nn.cse import CSENetwork, is_cse
from dife_lightning.nn.cse.architecture import IGNORED_PREFIXES, read_architecture
from tests.nn.public_cse import GOLDEN, Shapes, empty, filled, read_shapes, tiny_shapes

Shared = Callable[[str], Path]
BASE = "shapes_R_50_FPN_soft_animals_finetune_16k.json"
R101_DL = "shapes_R_101_FPN_DL_soft_s1x.json"
CONFIGS = [
    "R_101_FPN_DL_soft_s1x", "R_50_FPN_soft_s1x", "R_50_FPN_soft_animals_finetune_maskonly_24k",
    *(f"R_50_FPN_soft_animals_{name}" for name in (
        "CA_finetune_16k", "CA_finetune_4k", "I0_finetune_16k", "I0_finetune_i2m_16k", "I0_finetune_m2m_16k",
        "finetune_16k", "finetune_4k",
    )),
]  # fmt: skip


def dense_only(shapes: Shapes) -> Shapes:
    return {key: shape for key, shape in shapes.items() if not key.startswith(IGNORED_PREFIXES)}


def state_shapes(network: CSENetwork) -> Shapes:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def config_shapes(shared: Shared, name: str) -> tuple[Shapes, dict[str, object]]:
    content = json.loads(shared(f"{GOLDEN}/configs.json").read_text())
    assert {f"densepose_rcnn_{known}" for known in CONFIGS} == set(content["configs"])
    facts = content["configs"][f"densepose_rcnn_{name}"]
    difference = content["differences_from_R_50_FPN_soft_animals_finetune_16k"][f"densepose_rcnn_{name}"]
    if isinstance(difference, str):
        return read_shapes(shared(f"{GOLDEN}/{R101_DL}")), facts
    shapes = read_shapes(shared(f"{GOLDEN}/{BASE}"))
    shapes.update({key: tuple(shape) for key, shape in difference["added_or_changed"].items()})
    return {key: shape for key, shape in shapes.items() if key not in difference["removed"]}, facts


@pytest.mark.parametrize("name", CONFIGS)
def test_every_public_checkpoint_is_built_from_its_shapes(shared: Shared, name: str) -> None:
    shapes, facts = config_shapes(shared, name)
    assert len(shapes) == facts["keys"]
    assert is_cse(shapes)
    network = CSENetwork.from_tensors(empty(shapes))
    assert state_shapes(network) == dense_only(shapes)
    assert network.dim == 16
    assert network.architecture.blocks == (3, 4, 23 if "R_101" in name else 6, 3)
    assert network.architecture.head == ("deeplab" if "DL" in name else "v1convx")


def test_only_the_detector_the_segmentation_and_the_meshes_are_ignored(shared: Shared) -> None:
    for name in (BASE, R101_DL):
        shapes = read_shapes(shared(f"{GOLDEN}/{name}"))
        ignored = shapes.keys() - dense_only(shapes).keys()
        pixel_branch = {key for key in ignored if "embedder" not in key and "coarse_segm" not in key}
        assert len(pixel_branch) == 14
        assert {key.split(".")[1] for key in pixel_branch} == {"rpn_head", "box_head", "box_predictor"}


@pytest.mark.parametrize("deeplab", [False, True])
def test_a_narrower_network_is_built_from_its_shapes(deeplab: bool) -> None:
    shapes = tiny_shapes(deeplab)
    network = CSENetwork.from_tensors(filled(shapes))
    assert state_shapes(network) == dense_only(shapes)
    assert network.dim == 6
    assert network.architecture.head_convs == 2
    assert network.architecture.blocks == (1, 2, 1, 1)


def test_values_are_copied_and_not_shared() -> None:
    tensors = filled(tiny_shapes())
    network = CSENetwork.from_tensors(tensors)
    for key, value in network.state_dict().items():
        assert torch.equal(value, tensors[key])
        assert value.data_ptr() != tensors[key].data_ptr()


def test_half_precision_files_become_float32() -> None:
    network = CSENetwork.from_tensors({key: value.half() for key, value in filled(tiny_shapes()).items()})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_detector_tensors_may_be_there_or_not() -> None:
    detector = {"proposal_generator.rpn_head.conv.weight": (10, 10, 3, 3), "roi_heads.box_head.fc1.bias": (4,)}
    network = CSENetwork.from_tensors(empty({**tiny_shapes(), **detector}))
    assert state_shapes(network) == dense_only(tiny_shapes())


def test_pixel_statistics_of_older_files_are_used() -> None:
    usual = CSENetwork.from_tensors(filled(tiny_shapes()))
    assert usual.pixel_mean.flatten().tolist() == pytest.approx([103.530, 116.280, 123.675])
    assert usual.pixel_std.flatten().tolist() == [1, 1, 1]
    older = {**filled(tiny_shapes()), "pixel_mean": torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)}
    assert CSENetwork.from_tensors(older).pixel_mean.flatten().tolist() == [1, 2, 3]
    with pytest.raises(CheckpointError, match=r"'pixel_mean' is \(4,\), CSENetwork expects \(3, 1, 1\)"):
        CSENetwork.from_tensors({**older, "pixel_mean": torch.zeros(4)})


def test_missing_tensors_are_named() -> None:
    shapes = dense_only(tiny_shapes(deeplab=True))
    for key in list(shapes)[::2]:
        rest = {name: shape for name, shape in shapes.items() if name != key}
        with pytest.raises(CheckpointError, match=f"f.pkl has no tensor '{key}'") as error:
            CSENetwork.from_tensors(empty(rest), source="f.pkl")
        assert "\n" not in str(error.value)


def test_a_size_of_0_is_an_error() -> None:
    key = "roi_heads.densepose_predictor.embed_lowres.weight"
    with pytest.raises(CheckpointError, match=rf"'{key}' is \(12, 0, 4, 4\), .*at least 1 along axis 1"):
        CSENetwork.from_tensors(empty({**tiny_shapes(), key: (12, 0, 4, 4)}))


@pytest.mark.parametrize("deform", [lambda s: (*s[:-1], s[-1] + 1), lambda s: (1, *s), lambda s: ()])
def test_tensors_of_a_wrong_shape_are_errors_of_one_line(deform: Callable[[tuple], tuple]) -> None:
    shapes = dense_only(tiny_shapes(deeplab=True))
    for key in list(shapes)[::5]:
        with pytest.raises(CheckpointError, match="CSENetwork") as error:
            CSENetwork.from_tensors(empty({**shapes, key: deform(shapes[key])}))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [
        ("backbone.bottom_up.res3.1.conv2.weight", (6, 6, 1, 1), (6, 6, 3, 3)),
        ("backbone.fpn_lateral4.weight", (10, 12, 1, 1), (10, 16, 1, 1)),
        ("roi_heads.decoder.p5.4.bias", (10,), (9,)),
        ("roi_heads.densepose_head.body_conv_fcn2.weight", (12, 12, 5, 5), (12, 12, 3, 3)),
    ],
)
def test_a_wrong_shape_is_named_with_both_shapes(key: str, wrong: tuple[int, ...], right: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError) as error:
        CSENetwork.from_tensors(empty({**tiny_shapes(), key: wrong}))
    assert str(error.value) == f"the checkpoint: '{key}' is {wrong}, CSENetwork expects {right}."


def test_a_missing_block_is_found_by_the_gap_it_leaves() -> None:
    shapes = {key: shape for key, shape in tiny_shapes().items() if "body_conv_fcn1" not in key}
    with pytest.raises(CheckpointError, match=r"no tensor 'roi_heads\.densepose_head\.body_conv_fcn1\.weight'"):
        CSENetwork.from_tensors(empty(shapes))
    shapes = tiny_shapes()
    shapes.update({key.replace("fcn2", "fcn4"): shape for key, shape in shapes.items() if "body_conv_fcn2" in key})
    with pytest.raises(CheckpointError, match=r"no tensor 'roi_heads\.densepose_head\.body_conv_fcn3\.weight'"):
        CSENetwork.from_tensors(empty(shapes))


@pytest.mark.parametrize(
    "key",
    [
        "roi_heads.mask_head.conv.weight",
        "optimizer",
        "roi_heads.decoder.p6.0.weight",
        "backbone.bottom_up.res2.x.weight",
    ],
)
def test_an_unknown_tensor_is_named(key: str) -> None:
    with pytest.raises(CheckpointError, match=rf"'{key}'.*no place in CSENetwork"):
        CSENetwork.from_tensors(empty({**tiny_shapes(), key: (1,)}))


def test_widths_that_32_groups_do_not_divide_are_refused() -> None:
    shapes, key = tiny_shapes(deeplab=True), "roi_heads.densepose_head.ASPP.project.0.weight"
    shapes.update({name: (40, *shape[1:]) for name, shape in shapes.items() if "ASPP" in name})
    with pytest.raises(CheckpointError, match=rf"'{key}' is \(40, 160, 1, 1\).*multiple of 32"):
        read_architecture(empty(shapes))


@pytest.mark.parametrize("deeplab", [False, True])
def test_one_tensor_of_a_wrong_shape_is_the_one_that_is_named(deeplab: bool) -> None:
    shapes = dense_only(tiny_shapes(deeplab))
    either = ("lowres", "decoder.predictor")  # sizes that two tensors tell: which one is right?
    for key, shape in [item for item in shapes.items() if not any(word in item[0] for word in either)][::4]:
        for axis in range(min(2, len(shape))):
            wrong = tuple(size + (i == axis) for i, size in enumerate(shape))
            with pytest.raises(CheckpointError, match=re.escape(f"'{key}' is {wrong}, CSENetwork expects {shape}.")):
                CSENetwork.from_tensors(empty({**shapes, key: wrong}))


@pytest.mark.parametrize("prefix", ["backbone.bottom_up.res4.", "roi_heads.densepose_head.body_conv_fcn"])
def test_names_alone_do_not_make_a_network_large(prefix: str) -> None:
    names = [f"{prefix}{number}.conv1.weight" for number in range(10, 5000)]
    found = read_architecture(empty({**tiny_shapes(), **dict.fromkeys(names, (1, 1, 1, 1))}))
    assert max(*found.blocks, found.head_convs) <= 100
    with pytest.raises(CheckpointError, match="no tensor"):
        CSENetwork.from_tensors(empty({**tiny_shapes(), **dict.fromkeys(names, (1, 1, 1, 1))}))
    far = f"{prefix}123456789.conv1.weight"
    with pytest.raises(CheckpointError, match=re.escape(f"'{far}' (1,) has no place in CSENetwork")):
        CSENetwork.from_tensors(empty({**tiny_shapes(), far: (1,)}))


def test_other_layouts_are_not_taken_for_cse() -> None:
    assert is_cse(tiny_shapes())
    assert not is_cse({})
    assert not is_cse({"hg.conv1.weight": 0, "synthesis.b4.const": 0})
    charts = {key.replace("embed_lowres", "u_lowres"): shape for key, shape in tiny_shapes().items()}
    assert not is_cse(charts)
    no_backbone = {key for key in tiny_shapes() if not key.startswith("backbone")}
    assert not is_cse(no_backbone)
