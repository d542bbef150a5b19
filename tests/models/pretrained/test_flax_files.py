"""Flax checkpoints are read exactly, in PyTorch's layout, and never executed."""

import pickle

import numpy as np
import pytest
from weight_files import Evil

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.unpickling import CheckpointError, UnsafeCheckpointError


def write(path, tree, protocol=3):
    path.write_bytes(pickle.dumps(tree, protocol=protocol))
    return path


def random(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("protocol", [3, 4])
def test_kernels_come_in_pytorchs_layout_and_names_are_joined(tmp_path, protocol):
    kernel, dense, bias = random(3, 5, 2, 4), random(6, 7), random(4)
    tree = {"Net_0": {"Conv_0": {"kernel": kernel, "bias": bias}, "Dense_0": {"kernel": dense}}}
    tensors = read_state_dict(write(tmp_path / "a.ckpt", tree, protocol))
    assert list(tensors) == ["Net_0.Conv_0.weight", "Net_0.Conv_0.bias", "Net_0.Dense_0.weight"]
    np.testing.assert_array_equal(tensors["Net_0.Conv_0.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(tensors["Net_0.Conv_0.bias"], bias)
    np.testing.assert_array_equal(tensors["Net_0.Dense_0.weight"], dense.T)


def test_dtypes_and_fortran_order(tmp_path):
    tree = {"half": random(3, dtype="float16"), "double": np.asfortranarray(random(2, 3, dtype="float64"))}
    tensors = read_state_dict(write(tmp_path / "a.ckpt", tree))
    for name, array in tree.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_a_malicious_pickle_executes_nothing(tmp_path):
    marker = tmp_path / "executed"
    for tree in (Evil(marker), {"Conv_0": {"kernel": Evil(marker)}}):
        with pytest.raises(UnsafeCheckpointError, match=r"(posix|nt)\.system"):
            read_state_dict(write(tmp_path / "a.ckpt", tree))
    assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists(), "it would have executed"


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({}, "no arrays"),
        ([1, 2], "Received: : list"),
        ({"a": {"b": 3}}, "Received: a.b: int"),
        ({"a": np.array([1, 2])}, "a is not an array"),
        ({"a": np.array([1.0], ">f4")}, "a is not an array"),
        ({"a": np.array(["text"], object)}, "a is not an array"),
    ],
)
def test_other_contents_are_named(tmp_path, tree, reason):
    with pytest.raises(CheckpointError, match=reason):
        read_state_dict(write(tmp_path / "a.ckpt", tree))


def test_a_truncated_or_altered_file_is_refused(tmp_path):
    path = write(tmp_path / "a.ckpt", {"a": random(100)})
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_state_dict(path)
    path.write_bytes(content.replace(b"Kd\x85", b"Ke\x85"))  # the shape (100,) becomes (101,)
    with pytest.raises(CheckpointError, match=r"of shape \(101,\) and dtype f4 has 400 bytes"):
        read_state_dict(path)


def test_a_dict_in_several_places_is_refused(tmp_path):
    itself = {}
    itself["a"] = itself
    bomb = {"leaf": random(1)}
    for _ in range(40):
        bomb = dict.fromkeys("abcd", bomb)
    for tree in (itself, bomb):
        with pytest.raises(CheckpointError, match="twice"):
            read_state_dict(write(tmp_path / "a.ckpt", tree))
