"""ONNX export: the exported model agrees with the Keras model, or there is no file."""

import keras
import numpy as np
import onnx
import pytest
from tiny import tiny_backbone
from tiny_models import settle

from models.grad_cam import with_grad_cam
from models.heads import attach_head
from models.saved.onnx_model import OnnxModel
from training.data.image_batches import resize
from training.export import onnx_export
from training.export.onnx_export import OnnxExportError, OnnxParityError, export_onnx


@pytest.fixture
def images(dataset):
    return dataset.x_test[:40]


@pytest.fixture
def model(images):
    return tiny_network("dense", images)


def tiny_network(head, images) -> keras.Model:
    backbone = tiny_backbone(16, "keras")
    model = keras.Model(backbone.input, attach_head(head, backbone.output, 3), name="tiny")
    return settle(model, np.asarray(resize(images, 16)))


def test_the_exported_model_agrees_at_any_batch_size(tmp_path, model, images):
    difference = export_onnx(model, tmp_path / "model.onnx", images)
    exported = OnnxModel(tmp_path / "model.onnx")
    for batch in (1, 5, 40):
        inputs = np.asarray(resize(images[:batch], 16))
        found = exported.predict_on_batch(inputs)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, model.predict_on_batch(inputs), atol=1e-5)
    assert 0 <= difference <= 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_inputs_and_outputs_are_named(tmp_path, model, images, capfd):
    export_onnx(model, tmp_path / "model.onnx", images[:2])
    assert capfd.readouterr() == ("", ""), "the converters' output is hidden"
    graph = onnx.load(tmp_path / "model.onnx")
    (image,), (output,) = graph.graph.input, graph.graph.output
    assert (image.name, output.name) == ("images", "head_probabilities")
    assert image.type.tensor_type.shape.dim[0].dim_param == output.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] == 18
    exported = OnnxModel(tmp_path / "model.onnx")
    assert (exported.input_shape, exported.output_shape) == ((None, 16, 16, 3), (None, 3))


def test_several_outputs_keep_their_order(tmp_path, model, images):
    names = ["block_2_add", "block_1_relu"]
    prefix = keras.Model(model.input, [model.get_layer(name).output for name in names])
    inputs = np.asarray(resize(images, 16))
    export_onnx(prefix, tmp_path / "prefix.onnx", inputs)  # float32 at the model's own size
    assert [output.name for output in onnx.load(tmp_path / "prefix.onnx").graph.output] == names
    found = OnnxModel(tmp_path / "prefix.onnx").outputs(inputs)
    for one, other in zip(found, prefix.predict_on_batch(inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_model_with_other_outputs_is_an_error_and_leaves_no_file(tmp_path, model, images, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the ONNX file of an earlier run")
    convert = onnx_export._convert

    def convert_another(model, partial):
        other = keras.models.clone_model(model)
        other(np.zeros((1, 16, 16, 3)))
        convert(other, partial)

    monkeypatch.setattr(onnx_export, "_convert", convert_another)
    with pytest.raises(OnnxParityError, match=r"Received: a difference of 0\.\d"):
        export_onnx(model, path, images)
    assert list(tmp_path.iterdir()) == []


def test_outputs_of_nan_are_an_error(tmp_path, model, images):
    layer = model.get_layer("head_probabilities")
    layer.set_weights([weight * np.nan for weight in layer.get_weights()])
    with pytest.raises(OnnxParityError, match="nan"):
        export_onnx(model, tmp_path / "model.onnx", images)
    assert list(tmp_path.iterdir()) == []


def test_an_unsupported_operation_is_an_error(tmp_path, model, images, monkeypatch):
    def refuse(*_, **__):
        raise KeyError("Erfc is not supported")

    monkeypatch.setattr(keras.Model, "export", refuse)
    with pytest.raises(OnnxExportError, match="tiny.*Erfc"):
        export_onnx(model, tmp_path / "model.onnx", images)
    assert list(tmp_path.iterdir()) == []


def test_no_images_are_an_error(tmp_path, model):
    with pytest.raises(ValueError, match="at least one image"):
        export_onnx(model, tmp_path / "model.onnx", np.zeros((0, 16, 16, 3), np.uint8))


def test_a_kernel_that_grad_cam_transposes_is_stored_once(tmp_path, images):
    export_onnx(with_grad_cam(tiny_network("flatten", images)), tmp_path / "model.onnx", images)
    large = [tensor for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer if len(tensor.raw_data) > 40_000]
    assert [sorted(tensor.dims) for tensor in large] == [[256, 768]]
