"""Checkpoint files are read exactly, refused clearly, and never executed."""

import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from every_dtype import EXPECTED
from recordings import PARITY
from safetensors.numpy import save_file
from weight_files import Evil, pickled, zipped

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.unpickling import CheckpointError, UnsafeCheckpointError

CHECKPOINTS = PARITY.parent / "checkpoints"  # written by torch, see record_parity.py
LEGACY_HEAD = b"".join(
    pickle.dumps(part, protocol=2)
    for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
)


def dumped(value, protocol=2):
    return pickle.dumps(value, protocol=protocol)


STORAGE_KEYS = dumped(["0"])


def program(**changes):
    """Return the pickle of {"w": a tensor of shape (2, 3)}, which `changes` damage."""
    return pickled({"w": {"offset": 0, "shape": (2, 3), "strides": (3, 1), "count": 6} | changes})


@pytest.mark.parametrize("name", ["zip.pt", "protocol_4.pth", "legacy.pt", "tensors.safetensors"])
def test_every_dtype_and_view_in_a_file_of_torch_is_read(name):
    tensors = read_state_dict(CHECKPOINTS / name)
    assert set(tensors) == set(EXPECTED)
    if name != "tensors.safetensors":  # which sorts them
        assert list(tensors) == list(EXPECTED)
    for key, expected in EXPECTED.items():
        assert tensors[key].dtype == expected.dtype, key
        np.testing.assert_array_equal(tensors[key], expected, err_msg=key)
        assert not tensors[key].flags.writeable or tensors[key].size == 0


def test_a_wrapping_dict_and_the_data_parallel_prefix_are_removed():
    assert list(read_state_dict(CHECKPOINTS / "wrapped.pth")) == ["fc.weight"]


@pytest.mark.parametrize(
    ("file_format", "content"),
    [
        ("raw", dumped),
        ("raw", lambda evil: LEGACY_HEAD[:15] + dumped(evil)),  # in place of the protocol version
        ("raw", lambda evil: LEGACY_HEAD + dumped(evil)),
        ("raw", lambda evil: LEGACY_HEAD + program() + dumped(evil)),  # in place of the keys of the storages
        ("zip", dumped),
        ("zip", lambda evil: dumped({"state_dict": {"w": [1, {"x": evil}]}})),
        ("zip", lambda evil: dumped(OrderedDict(w=evil), protocol=4)),
    ],
)
def test_a_malicious_pickle_executes_nothing(tmp_path, file_format, content):
    marker, path = tmp_path / "executed", tmp_path / "weights.pt"
    evil = Evil(marker)
    if file_format == "raw":
        path.write_bytes(content(evil))
    else:
        zipped(path, content(evil))
    with pytest.raises(UnsafeCheckpointError, match=r"(posix|nt)\.system"):
        read_state_dict(path)
    assert not marker.exists()
    pickle.loads(dumped(evil))
    assert marker.exists(), "pickle itself executes it"


@pytest.mark.parametrize(
    "opcodes",
    [
        b"(S'touch MARKER'\nios\nsystem\n",  # INST
        b"(cos\nsystem\nS'touch MARKER'\no",  # OBJ
        b'c__builtin__\neval\nS\'open("MARKER", "w")\'\n\x85R',
        b"cbuiltins\ngetattr\n",
        b"ccollections\nOrderedDict.fromkeys\n",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n",
        b"\x82\x01",  # EXT1
        b"ccollections\nOrderedDict\n)\x81",  # NEWOBJ
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f",  # BYTEARRAY8 of 2**63 - 1 bytes
        b"}r\xff\xff\xff\xff",  # LONG_BINPUT, a memo of 2**32 entries in the unpickler in C
        b"ccollections\nOrderedDict\n}S'keys'\nNsb",  # BUILD on a class
    ],
)
def test_opcodes_that_reach_beyond_data_are_refused(tmp_path, opcodes):
    marker = tmp_path / "executed"
    content = b"\x80\x02" + opcodes.replace(b"MARKER", str(marker).encode()) + b"."
    with pytest.raises(CheckpointError):
        read_state_dict(zipped(tmp_path / "w.pt", content))
    (tmp_path / "legacy.pt").write_bytes(LEGACY_HEAD + content)
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / "legacy.pt")
    assert not marker.exists()
    assert callable(OrderedDict.keys)


def test_a_whole_pickled_model_is_refused_with_advice():
    with pytest.raises(UnsafeCheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"):
        read_state_dict(CHECKPOINTS / "whole_model.pt")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"offset": 1}, "element 6"),
        ({"strides": (1 << 40, 1)}, "element"),
        ({"shape": (1 << 62, 3), "strides": (0, 1)}, "damaged"),
        ({"offset": -1}, "not numbers"),
        ({"strides": (-3, 1)}, "not numbers"),
        ({"shape": (2, 3, 1)}, "damaged"),
        ({"shape": ("2", 3)}, "not numbers"),
        ({"count": 7}, "28 bytes"),
        ({"count": -6}, "not a storage"),
        ({"kind": "DoubleStorage"}, "48 bytes"),
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, wrong, reason):
    content = np.arange(6, dtype="<f4").tobytes()
    with pytest.raises(CheckpointError, match=reason):
        read_state_dict(zipped(tmp_path / "w.pt", program(**wrong), {"0": content}))


def test_the_same_program_is_read_where_nothing_is_wrong_also_as_a_huge_view(tmp_path):
    values = np.arange(6, dtype="<f4")
    tensors = read_state_dict(zipped(tmp_path / "w.pt", program(), {"0": values.tobytes()}))
    np.testing.assert_array_equal(tensors["w"], values.reshape(2, 3))
    expanded = zipped(tmp_path / "w.pt", program(shape=(1 << 40, 3), strides=(0, 1)), {"0": values.tobytes()})
    assert read_state_dict(expanded)["w"].shape == (1 << 40, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated or damaged"),
        (b"not a checkpoint", "cannot be read"),
        (dumped({"w": 1}), "torch.save"),
        (LEGACY_HEAD + program() + STORAGE_KEYS + struct.pack("<q", 6) + bytes(20), "24 bytes and has 20"),
        (LEGACY_HEAD + program() + STORAGE_KEYS + struct.pack("<q", 5) + bytes(24), "storage 0"),
        (LEGACY_HEAD + program() + dumped([]), "storages"),
        (LEGACY_HEAD + dumped({"w": 1}) + dumped([]), "'w': int"),
        (LEGACY_HEAD + dumped([1]) + dumped([]), "Received: list"),
        (LEGACY_HEAD.replace(b"\x88", b"\x89"), "big-endian"),
    ],
)
def test_damaged_and_foreign_files_say_why(tmp_path, content, reason):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"w.pth.*{reason}"):
        read_state_dict(tmp_path / "w.pth")


def test_a_decompression_bomb_is_not_unpacked(tmp_path):
    path = zipped(tmp_path / "w.pt", program(), {"0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="decompression bomb"):
        read_state_dict(path)


def test_a_dict_that_contains_itself_is_refused(tmp_path):
    itself = {}
    itself["state_dict"] = itself
    with pytest.raises(CheckpointError, match="tensors by name"):
        read_state_dict(zipped(tmp_path / "w.pt", dumped(itself)))


def test_a_truncated_or_foreign_safetensors_file_is_named(tmp_path):
    path, marker = tmp_path / "w.safetensors", tmp_path / "executed"
    save_file({"w": np.arange(100, dtype="float32")}, path)
    for content in (path.read_bytes()[:-1], dumped(Evil(marker))):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="w.safetensors"):
            read_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_any_damage_gives_tensors_or_a_checkpoint_error(tmp_path, container):
    if container == "zip":
        whole = zipped(tmp_path / "whole.pt", program(), {"0": bytes(24)}).read_bytes()
    else:
        whole = LEGACY_HEAD + program() + STORAGE_KEYS + struct.pack("<q", 6) + bytes(24)
    generator = np.random.default_rng(0)
    path = tmp_path / "w.pt"
    damaged = [whole[:length] for length in range(0, len(whole), 3)]
    for _ in range(600):
        content = bytearray(whole)
        content[generator.integers(len(whole))] = generator.integers(256)
        damaged.append(bytes(content))
    for content in damaged:
        path.write_bytes(content)
        try:
            tensors = read_state_dict(path)
        except CheckpointError:
            continue
        assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
