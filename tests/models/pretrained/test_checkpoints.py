"""Checkpoint files are read exactly, refused clearly, and never executed."""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.pretrained.checkpoints import read_state_dict
from models.pretrained.unpickling import CheckpointError, UnsafeCheckpointError

LEGACY_HEAD = b"".join(
    pickle.dumps(part, protocol=2)
    for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
)


class Evil:
    """Pickles into a call of os.system that leaves a file behind."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def zipped(path, program: bytes, members: dict[str, bytes] | None = None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        for name, content in (members or {}).items():
            archive.writestr(f"archive/{name}", content)
    return path


def program(offset=0, shape=(2, 3), strides=(3, 1), count=6, storage_type="FloatStorage", wrap=b"%s"):
    """Return a pickle of {"w": tensor}, written by hand so that it can be wrong in any way."""
    number = lambda value: pickle.dumps(value, protocol=2)[2:-1]  # noqa: E731 (opcodes without frame)
    identity = (
        b"("
        + number("storage")
        + f"ctorch\n{storage_type}\n".encode()
        + number("0")
        + number("cpu")
        + number(count)
        + b"tQ"
    )
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + number(offset) + number(shape) + number(strides)
    tensor = call + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02" + wrap.replace(b"%s", b"}" + number("w") + tensor + b"s") + b"."


@pytest.fixture(params=["zip", "legacy", "safetensors"])
def checkpoint(request, tmp_path):
    """Return a function that saves a torch state dict in one of the three formats, and returns the path."""
    torch = pytest.importorskip("torch")

    def save(state_dict):
        if request.param == "safetensors":
            from safetensors.torch import save_file as save_torch_file

            path = tmp_path / "weights.safetensors"
            save_torch_file({name: tensor.clone().contiguous() for name, tensor in state_dict.items()}, path)
            return path
        path = tmp_path / "weights.pt"
        torch.save(state_dict, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return save


def test_every_dtype_view_and_order_is_read_as_torch_reads_it(checkpoint):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    state_dict = OrderedDict(
        float32=base,
        transposed=base.T,
        offset=base[1:, 2:4],
        expanded=torch.ones(1, 3).expand(5, 3),
        channels_last=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        scalar=torch.tensor(7),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.randn(3)),
        float64=torch.randn(3, dtype=torch.float64),
        float16=torch.randn(3).half(),
        bfloat16=torch.tensor([1.5, -3e38, 1e-40, float("inf")]).bfloat16(),
        int64=torch.tensor([2**40, -1]),
        uint8=torch.tensor([255], dtype=torch.uint8),
        boolean=torch.tensor([True, False]),
    )
    tensors = read_state_dict(checkpoint(state_dict))
    assert set(tensors) == set(state_dict)
    for name, expected in state_dict.items():
        expected = expected.detach().float() if name == "bfloat16" else expected.detach()
        assert tensors[name].dtype == expected.numpy().dtype, name
        np.testing.assert_array_equal(tensors[name], expected.numpy(), err_msg=name)
        assert not tensors[name].flags.writeable or tensors[name].size == 0


def test_a_modules_state_dict_keeps_its_order(tmp_path):
    torch = pytest.importorskip("torch")
    state_dict = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict()
    for name, protocol, zip_format in (
        ("a.pt", 2, True),
        ("lightning.ckpt", 2, True),
        ("b.pth", 4, True),
        ("c.pth", 4, False),
    ):
        path = tmp_path / name
        torch.save(state_dict, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zip_format)
        assert list(read_state_dict(path)) == list(state_dict)


@pytest.mark.parametrize("wrap", ["state_dict", "model", "model_state_dict"])
def test_wrapping_dicts_and_the_data_parallel_prefix_are_taken_off(tmp_path, wrap):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, wrap: {"module.fc.weight": torch.ones(2)}}, path)
    assert list(read_state_dict(path)) == ["fc.weight"]


def test_the_handwritten_program_is_valid_to_begin_with(tmp_path):
    values = np.arange(6, dtype="<f4")
    tensors = read_state_dict(zipped(tmp_path / "w.pt", program(), {"data/0": values.tobytes()}))
    np.testing.assert_array_equal(tensors["w"], values.reshape(2, 3))


def test_the_malicious_pickle_would_execute(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "place", ["file", "legacy_head", "legacy", "legacy_keys", "zip", "zip_value", "zip_protocol_4"]
)
def test_a_malicious_pickle_executes_nothing(tmp_path, place):
    marker = tmp_path / "executed"
    path = tmp_path / "weights.pt"
    evil = pickle.dumps(Evil(marker), protocol=2)
    if place == "file":
        path.write_bytes(evil)
    elif place == "legacy_head":
        path.write_bytes(LEGACY_HEAD[:15] + evil)
    elif place == "legacy":
        path.write_bytes(LEGACY_HEAD + evil)
    elif place == "legacy_keys":
        path.write_bytes(LEGACY_HEAD + program() + evil)
    elif place == "zip":
        zipped(path, evil)
    elif place == "zip_value":
        zipped(path, pickle.dumps({"state_dict": {"w": [1, {"x": Evil(marker)}]}}, protocol=2))
    else:
        zipped(path, pickle.dumps(OrderedDict(w=Evil(marker)), protocol=4))
    with pytest.raises(UnsafeCheckpointError, match=r"asks for (posix|nt)\.system"):
        read_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"(S'touch MARKER'\nios\nsystem\n",  # INST
        b"(cos\nsystem\nS'touch MARKER'\no",  # OBJ
        b"cos\nsystem\nS'touch MARKER'\n\x85R",  # REDUCE
        b'c__builtin__\neval\nS\'open("MARKER", "w")\'\n\x85R',
        b"cbuiltins\ngetattr\n",
        b"ctorch.serialization\nload\n",
        b"cnumpy\nload\n",
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


def test_a_whole_pickled_model_is_refused_with_advice(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(UnsafeCheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"offset": 1}, "reaches element 6 of a storage of 6"),
        ({"strides": (1 << 40, 1)}, "reaches element"),
        ({"shape": (1 << 62, 3), "strides": (0, 1)}, "damaged"),
        ({"offset": -1}, "no numbers"),
        ({"strides": (-3, 1)}, "no numbers"),
        ({"shape": (2, 3, 1)}, "damaged"),
        ({"shape": ("2", 3)}, "no numbers"),
        ({"count": 7}, "needs 28 bytes and has 24"),
        ({"count": -6}, "not a storage"),
        ({"storage_type": "DoubleStorage"}, "needs 48 bytes and has 24"),
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, wrong, reason):
    content = np.arange(6, dtype="<f4").tobytes()
    with pytest.raises(CheckpointError, match=reason):
        read_state_dict(zipped(tmp_path / "w.pt", program(**wrong), {"data/0": content}))


def test_a_huge_expanded_tensor_costs_no_memory(tmp_path):
    path = zipped(tmp_path / "w.pt", program(shape=(1 << 40, 3), strides=(0, 1)), {"data/0": bytes(24)})
    assert read_state_dict(path)["w"].shape == (1 << 40, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated or damaged"),
        (b"not a checkpoint", "cannot be read"),
        (pickle.dumps({"w": 1}, protocol=2), "does not begin"),
        (LEGACY_HEAD + program() + pickle.dumps(["0"], protocol=2) + struct.pack("<q", 6) + bytes(20), "has 20"),
        (LEGACY_HEAD + program() + pickle.dumps(["0"], protocol=2) + struct.pack("<q", 5) + bytes(24), "at storage 0"),
        (LEGACY_HEAD + program() + pickle.dumps([], protocol=2), "list of storages"),
        (LEGACY_HEAD + pickle.dumps({"w": 1}, protocol=2) + pickle.dumps([], protocol=2), "'w': int"),
        (LEGACY_HEAD + pickle.dumps([1], protocol=2) + pickle.dumps([], protocol=2), "Received: list"),
        (LEGACY_HEAD.replace(b"\x88", b"\x89"), "big-endian"),
    ],
)
def test_damaged_and_foreign_files_say_why(tmp_path, content, reason):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "w.pth" in str(caught.value)


def test_a_decompression_bomb_is_not_unpacked(tmp_path):
    path = zipped(tmp_path / "w.pt", program(), {"data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="claim more bytes"):
        read_state_dict(path)


def test_a_dict_that_holds_itself_ends(tmp_path):
    itself = {}
    itself["state_dict"] = itself
    with pytest.raises(CheckpointError, match="tensors by name"):
        read_state_dict(zipped(tmp_path / "w.pt", pickle.dumps(itself, protocol=2)))


def test_a_truncated_or_foreign_safetensors_file_says_so(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"w": np.arange(100, dtype="float32")}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="w.safetensors"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps(Evil(tmp_path / "executed")))
    with pytest.raises(CheckpointError, match="w.safetensors"):
        read_state_dict(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_any_damage_gives_tensors_or_a_checkpoint_error(tmp_path, container):
    if container == "zip":
        whole = zipped(tmp_path / "whole.pt", program(), {"data/0": bytes(24), "version": b"3\n"}).read_bytes()
    else:
        whole = LEGACY_HEAD + program() + pickle.dumps(["0"], protocol=2) + struct.pack("<q", 6) + bytes(24)
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
