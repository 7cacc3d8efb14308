"""Hostile, damaged and honest files through the one reader of what others pickled."""

from __future__ import annotations

import argparse
import io
import logging
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError
from dife_lightning.weights.pickles import _unpickler
from dife_lightning.weights.pickles.reading import read_pickled
from tests.pretrained.formats.writers import known_modules

MAGIC = 0x1950A86A20F9469CFC6C


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], v) for k, v in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, Tensor | np.ndarray):
        wanted = torch.as_tensor(expected)
        return isinstance(found, Tensor) and found.dtype == wanted.dtype and torch.equal(found, wanted)
    return bool(found == expected) and isinstance(found, type(expected))


def content() -> dict[str, Any]:
    base = torch.arange(12.0).reshape(3, 4)
    return {
        "state_dict": OrderedDict(a=base, row=base[1], t=base.t(), empty=torch.zeros(0, 3)),
        "kinds": [base.half(), base.bfloat16(), base.double(), base.long(), base.int(), base.bool(), base.byte()],
        "parameter": nn.Parameter(torch.ones(2)),
        "plain": (1, 2.5, "text", None, True, [1, {"x": (torch.ones(1),)}]),
        "number": torch.tensor(3),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saved_is_read_as_torch_reads_it(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save(content(), path, _use_new_zipfile_serialization=zipped)
    assert same(read_pickled(path), torch.load(path, weights_only=True))


def test_views_share_their_memory_as_they_did(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "x.pth")
    state = read_pickled(tmp_path / "x.pth")["state_dict"]
    state["a"][1] = 7
    assert bool((state["row"] == 7).all())


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_and_numbers_of_numpy_become_tensors_and_numbers(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">f8"),
        "truth": np.array([True, False]),
        "scalar_array": np.array(2.0, dtype=np.float16),
        "none": np.zeros((0, 2), dtype=np.float32),
    }
    numbers = {"f": np.float32(2.5), "i": np.int64(-7), "deep": [({"x": np.float64(0.5)}, np.ones(2))]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": arrays, "rest": numbers}, protocol=protocol))
    found = read_pickled(tmp_path / "x.pkl")
    expected = {k: v.astype(v.dtype.newbyteorder("=")) for k, v in arrays.items()}
    assert same(found["model"], expected)
    assert same(found["rest"], {"f": 2.5, "i": -7, "deep": [({"x": 0.5}, np.ones(2))]})


def test_names_of_either_numpy_and_of_python_2_are_known(tmp_path: Path) -> None:
    array = np.arange(4, dtype=np.float32)
    old = pickle.dumps(array, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    modern = old.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert old != modern
    # Python 2 stored the bytes of an array as a string (S), here of a number array of 1 byte each
    python_2 = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\n"
        b"tR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\x80\\xff'\ntb."
    )
    for name, data, expected in (
        ("m", modern, array),
        ("o", old, array),
        ("2", python_2, np.array([1, 128, 255], "u1")),
    ):
        (tmp_path / name).write_bytes(data)
        assert same(read_pickled(tmp_path / name), expected)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_namespaces_and_counters_become_dicts(tmp_path: Path, protocol: int) -> None:
    inner = argparse.Namespace(depth=1, hyperpixel="[0,8]", keys=None)
    outer = argparse.Namespace(inner=inner, again=inner, number=np.float64(0.5), tensor=[np.ones(2)])
    content = {"args": outer, "milestones": Counter({70: 1, 80: 2}), "empty": argparse.Namespace()}
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    found, plain = read_pickled(tmp_path / "args.pkl"), vars(inner)
    expected = {"inner": plain, "again": plain, "number": 0.5, "tensor": [np.ones(2)]}
    assert same(found, {"args": expected, "milestones": {70: 1, 80: 2}, "empty": {}})
    assert isinstance(found["args"], dict)
    assert found["args"]["inner"] is found["args"]["again"]


def archive(pickled: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
    return buffer.getvalue()


def tensor_pickle(size: bytes, stride: bytes, count: bytes = b"I4\n", key: bytes = b"S'0'\n") -> bytes:
    """A tensor of 4 numbers by declaration, in opcodes of protocol 0 (sizes as opcodes, too)."""
    storage = b"(S'storage'\nctorch\nFloatStorage\n" + key + b"S'cpu'\n" + count + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I0\n(" + size + b"t(" + stride + b"tI00\n(dtR."


def legacy(pickled: bytes, keys: bytes = b"(lp0\nS'0'\na.", data: bytes = b"") -> bytes:
    head = b"".join(pickle.dumps(part, protocol=2) for part in (MAGIC, 1001, {"little_endian": True}))
    return head + pickled + keys + data


def persistent(inner: bytes) -> bytes:
    return (
        b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n((dS'class_name'\nS'Generator'\nsS'state'\n"
        + inner
        + b"stR."
    )


INNER = b"ctorch.storage\n_load_from_bytes\n(B\x00\x00\x00\x00tR."
CODE = legacy(b"cos\nsystem\n(S'touch ran'\ntR.")

#: name -> a file, and the reason for which it is refused (so that none is refused for a slip of its own).
HOSTILE: dict[str, tuple[bytes, str]] = {
    "reduce": (b"cos\nsystem\n(S'touch ran'\ntR.", "asks for os.system"),
    "posix": (b"cposix\nsystem\n(S'touch ran'\ntR.", "asks for posix.system"),
    "eval": (b'c__builtin__\neval\n(S\'open("ran","w")\'\ntR.', "asks for __builtin__.eval"),
    "getattr": (b"cbuiltins\ngetattr\n(cos\nenviron\nS'clear'\ntR(tR.", "asks for builtins.getattr"),
    "instance": (b"(S'touch ran'\nios\nsystem\n.", "asks for os.system"),
    "stack_global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.", "asks for os.system"),
    "dotted": (
        b"\x80\x04\x8c\x0bcollections\x8c\x20OrderedDict.__init__.__globals__\x93.",
        "asks for collections.OrderedDict.__init__.__globals__",
    ),
    "nested_build": (
        persistent(b"(dS'_parameters'\ncsubprocess\ncheck_output\n((lS'touch'\naS'ran'\natRs"),
        "asks for subprocess.check_output",
    ),
    "torch_load": (b"ctorch\nload\n(S'other.pt'\ntR.", "asks for torch.load"),
    "inner_pickle": (b"ctorch.storage\n_load_from_bytes\n(cos\nsystem\n(S'touch ran'\ntRtR.", "asks for os.system"),
    "storage_of_code": (
        b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(CODE)) + CODE + b"tR.",
        "asks for os.system",
    ),
    "change_a_builder": (b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'_function'\nNstb.", "changes an object"),
    "change_a_class": (b"ccollections\nOrderedDict\n(N(dS'keys'\nNstb.", "changes an object"),
    "zip_with_code": (archive(b"cos\nsystem\n(S'touch ran'\ntR."), "asks for os.system"),
    "zip_path": (archive(tensor_pickle(b"I4\n", b"I1\n", key=b"S'../../../ran'\n"), {"0": bytes(16)}), "no entry"),
    "zip_huge_shape": (archive(tensor_pickle(b"L99999999999L\n", b"I1\n"), {"0": bytes(16)}), "but has 4 numbers"),
    "zip_huge_stride": (archive(tensor_pickle(b"I4\n", b"L99999999999L\n"), {"0": bytes(16)}), "but has 4 numbers"),
    "zip_expanded": (archive(tensor_pickle(b"L9999999999L\n", b"I0\n"), {"0": bytes(16)}), "but has 4 numbers"),
    "zip_negative": (archive(tensor_pickle(b"I-4\n", b"I1\n"), {"0": bytes(16)}), "impossible shape"),
    "zip_short_storage": (archive(tensor_pickle(b"I4\n", b"I1\n"), {"0": bytes(8)}), "storage 0, which has 2"),
    "zip_bomb": (
        archive(tensor_pickle(b"I4\n", b"I1\n"), {"0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED),
        "together larger than the file",
    ),
    "zip_compressed": (archive(b"N." + bytes(99), compression=zipfile.ZIP_DEFLATED), "compressed"),
    "zip_no_storage": (archive(tensor_pickle(b"I4\n", b"I1\n")), "no entry archive/data/0"),
    "zip_of_something": (archive(b"N.").replace(b"archive/data.pkl", b"archive/data.txt"), "not from torch"),
    "legacy_huge": (
        legacy(tensor_pickle(b"I4\n", b"I1\n", count=b"L999999999999L\n"), data=bytes(24)),
        "declares 999999999999 elements",
    ),
    "legacy_truncated": (legacy(tensor_pickle(b"I4\n", b"I1\n"), data=struct.pack("<q", 4) + bytes(8)), "truncated"),
    "array_huge": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(L99999999999L\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00'\ntb.",
        "another size than the 1 bytes",
    ),
    "array_of_objects": (pickle.dumps(np.array([None, {}], dtype=object)), "content is not bytes"),
    "claims_length": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.", "truncated"),
    # what takes time, memory or the process, in few bytes
    "hash_of_deep_tuple": (b"})" + b"\x85" * 150_000 + b"Ns.", "keys are no names or numbers"),
    "hash_of_doubled_tuple": (b"}N" + b"2\x86" * 40 + b"Ns.", "keys are no names or numbers"),
    "shape_of_doubled_tuple": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\nN"
        + b"2\x86" * 32
        + b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntRI00\nS''\ntb.",
        "another size than the 0 bytes",
    ),
    "bytearray_claims_length": (b"\x80\x05\x96" + struct.pack("<Q", 2 << 30) + b".", "truncated"),
    "storage_in_storage": (
        b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(INNER)) + INNER + b"tR.",
        "asks for torch.storage._load_from_bytes",
    ),
    "product_of_sizes": (
        b"L4611686018427387904L\np0\n0ctorch._utils\n_rebuild_tensor_v2\n(N"
        + b"I0\n("
        + b"g0\n" * 9_999
        + b"t("
        + b"g0\n" * 9_999
        + b"ttR.",
        "expands its data far beyond",
    ),
    "tensor_is_set": (
        archive(
            b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQI0\n(I4\nt(I1\nt"
            b"I00\n(dtR(NI0\n(I4\nt(I1\nttb.",
            {"0": bytes(16)},
        ),
        "changes an object",
    ),
    "tensor_is_filled": (
        archive(tensor_pickle(b"I4\n", b"I1\n")[:-1] + b"I0\nI1\ns.", {"0": bytes(16)}),
        "fills an object that is no dict",
    ),
    "dict_of_a_tensor": (
        archive(b"ccollections\nOrderedDict\n(" + tensor_pickle(b"I4\n", b"I1\n")[:-1] + b"tR.", {"0": bytes(16)}),
        "makes a dict from something that is no dict",
    ),
    "copies_of_a_dict": (
        b"("
        + b"".join(b"I%d\nN" % i for i in range(5000))
        + b"dp0\n0("
        + b"ccollections\nOrderedDict\n(g0\ntR" * 1500
        + b"l.",
        "expands its data far beyond",
    ),
    "copies_of_a_text": (
        b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntRp0\n0(I100000\ntp1\n0S'" + b"x" * 100_000 + b"'\np2\n0("
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntRp3\n0"
        + b"g3\n(I1\ng1\ng0\nI00\ng2\ntb" * 100
        + b"l.",
        "expands its data far beyond",
    ),
    "namespace_with_code": (
        b"\x80\x02cargparse\nNamespace\n)\x81}(U\x01acos\nsystem\n(U\ttouch rantRub.",
        "asks for os.system",
    ),
    "namespace_of_a_list": (b"\x80\x02cargparse\nNamespace\n)\x81](U\x01aK\x01eb.", "attributes are no dict of names"),
    "namespace_of_numbers": (b"\x80\x02cargparse\nNamespace\n)\x81}K\x01K\x02sb.", "attributes are no dict of names"),
    "namespace_with_slots": (
        b"\x80\x02cargparse\nNamespace\n)\x81N}U\x01aK\x01s\x86b.",
        "attributes are no dict of names",
    ),
    "namespace_made_of_arguments": (b"\x80\x02cargparse\nNamespace\n}\x85\x81.", "makes an object"),
    "namespace_called": (b"\x80\x02cargparse\nNamespace\n)R.", "calls an object that is no function"),
    "namespace_class_changed": (b"\x80\x02cargparse\nNamespace\n}U\x0c__setstate__Nsb.", "changes an object"),
    "parser": (b"\x80\x02cargparse\nArgumentParser\n)\x81.", "asks for argparse.ArgumentParser"),
    "copies_into_namespaces": (
        b"\x80\x02}("
        + b"".join(b"U\x04%04dN" % i for i in range(5000))
        + b"uq\x000("
        + b"cargparse\nNamespace\n)\x81h\x00b" * 1500
        + b"l.",
        "expands its data far beyond",
    ),
    "colliding_keys": (b"(L2305843009213693951L\nNd.", "keys are no names or numbers"),
    "extension": (b"\x80\x02\x82\x01.", "makes an object"),
    "newline_in_a_name": (
        b"\x80\x04\x8c\x10os\nline2\x1b[31mxxx\x8c\x06system\x93.",
        "asks for os?line2?[31mxxx.system",
    ),
    "empty": (b"", "is empty"),
    "text": (b"not a pickle at all\n", "no checkpoint of a known kind"),
    "truncated_pickle": (pickle.dumps({"a": np.ones(50)})[:120], "truncated"),
}
#: Opcodes of a byte or three that make objects of 50 to 200 bytes, again and again.
MANY: dict[str, tuple[bytes, bytes]] = {
    "lists": (b"", b"]"),
    "dicts": (b"", b"}"),
    "sets": (b"", b"\x8f"),
    "marks": (b"", b"("),
    "places_in_the_memo": (b"N", b"\x94"),
    "nested_tuples": (b"N", b"\x85"),
    "ordered_dicts": (b"ccollections\nOrderedDict\nq\x000", b"h\x00)R"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_and_damaged_files_are_refused_in_one_line_and_run_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"{name}.pkl"
    content, reason = HOSTILE[name]
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        read_pickled(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert reason in text
    assert text.isprintable()
    assert len(text) < 2000
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("in_a_set", [False, True])
def test_nested_tuples_are_walked_once(tmp_path: Path, in_a_set: bool) -> None:
    tuples = b"N" + b"2\x86" * 40
    (tmp_path / "x.pkl").write_bytes(b"\x8f(" + tuples + b"\x90." if in_a_set else tuples + b".")
    found, depth = read_pickled(tmp_path / "x.pkl"), 0
    found = found[0] if in_a_set else found
    while found is not None:
        found, depth = found[0], depth + 1
    assert depth == 40


def test_views_that_add_up_to_far_more_than_the_file_are_refused(tmp_path: Path) -> None:
    base = torch.zeros(1 << 16)
    torch.save([base[i:] for i in range(4)], tmp_path / "few.pth")
    assert len(read_pickled(tmp_path / "few.pth")) == 4
    torch.save([base[i:] for i in range(100)], tmp_path / "many.pth")
    with pytest.raises(CheckpointError, match="far more numbers"):
        read_pickled(tmp_path / "many.pth")


def test_networks_of_tensorflow_are_told(tmp_path: Path) -> None:
    (tmp_path / "tf.pkl").write_bytes(b"cdnnlib.tflib.network\nNetwork\n(tR.")
    with pytest.raises(CheckpointError, match="TensorFlow network"):
        read_pickled(tmp_path / "tf.pkl")


def test_reading_a_hostile_file_does_not_change_the_reading_of_the_next(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "good.pth")
    for name in sorted(HOSTILE):
        (tmp_path / name).write_bytes(HOSTILE[name][0])
        try:
            read_pickled(tmp_path / name)
        except CheckpointError:
            continue
    assert same(read_pickled(tmp_path / "good.pth"), torch.load(tmp_path / "good.pth", weights_only=True))


def test_a_huge_memo_index_takes_no_memory(tmp_path: Path) -> None:
    """The loader in C makes its memo as long as the largest index: here 34 GB."""
    (tmp_path / "memo.pkl").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    resource = pytest.importorskip("resource", reason="POSIX only")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_pickled(tmp_path / "memo.pkl") == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("name", sorted(MANY))
def test_objects_are_bounded_by_the_size_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(_unpickler, "_OBJECTS", 1000)
    start, again = MANY[name]
    (tmp_path / "x.pkl").write_bytes(start + again * 5000 + b".")
    with pytest.raises(CheckpointError, match=r"x\.pkl makes more objects than a checkpoint of its size has \(1\d+\)"):
        read_pickled(tmp_path / "x.pkl")


def test_a_million_empty_dicts_take_little_memory(tmp_path: Path) -> None:
    """In a list and in the memo they would take 200 MB."""
    resource = pytest.importorskip("resource", reason="POSIX only")
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04(" + b"}\x94" * 1_000_000 + b"l.")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="more objects"):
        read_pickled(tmp_path / "x.pkl")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


def test_torch_would_take_memory_for_the_shape_that_is_refused_here(tmp_path: Path) -> None:
    """Why shapes are compared with storages: torch enlarges a storage to what a file declares."""
    (tmp_path / "x.pth").write_bytes(archive(tensor_pickle(b"I400\n", b"I1\n"), {"0": bytes(16)}))
    with pytest.raises(CheckpointError, match=r"declares a tensor \(400,\), but has 4"):
        read_pickled(tmp_path / "x.pth")


class _Settings:
    """Pickles as an object of the name that it is given."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_of_a_training_beside_its_tensors_are_passed_over(tmp_path: Path, zipped: bool) -> None:
    """What the trainings of rosinality and DVE save with their networks, in the names of their modules."""
    settings = type("ConfigParser", (_Settings,), {"__module__": "parse_config"})
    arguments = argparse.Namespace(size=256, path=Path("data/faces"), lr=0.002, ckpt=None)
    others = {
        "args": arguments,
        "logger": logging.getLogger("trainer"),
        "counts": Counter({30: 1}),
        "config": settings(_config={"name": "x"}, _save_dir=Path("/models/x"), _args=arguments, log_levels={0: 30}),
    }
    with known_modules(settings=settings):
        torch.save({"g_ema": {"a": torch.ones(2)}, **others}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_pickled(tmp_path / "x.pt")
    assert torch.equal(found["g_ema"]["a"], torch.ones(2))
    assert found.keys() == {"g_ema", *others}


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_a_truncated_file_is_told_as_such_wherever_it_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"model": {"a": np.ones(500), "b": np.ones(500)}}, protocol=2))
    else:
        torch.save(content(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for length in (1, 3, 4, *range(5, len(whole), 97), *range(len(whole) - 12, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"x\.pth is truncated") as error:
            read_pickled(path)
        assert "\n" not in str(error.value)


def test_what_looks_like_the_end_of_an_archive_is_data(tmp_path: Path) -> None:
    """An archive is told by its first bytes, as torch does: weights may hold any others."""
    end = archive(b"N.")[-22:]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": np.frombuffer(end, np.uint8)}) + end)
    assert read_pickled(tmp_path / "x.pkl")["a"].tolist() == list(end)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "x.pkl")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"x\.pkl cannot be read \(permission denied\)"):
        read_pickled(tmp_path / "x.pkl")


def test_folders_and_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder, expected a file"):
        read_pickled(tmp_path)
    with pytest.raises(CheckpointError, match="no file"):
        read_pickled(tmp_path / "missing.pkl")
