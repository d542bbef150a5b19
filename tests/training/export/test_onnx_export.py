import keras
import numpy as np
import onnx
import pytest
from tiny import tiny_backbone

from models.grad_cam import with_grad_cam
from models.heads import attach_head
from models.saved.onnx_model import OnnxModel
from training.data.pipeline import resize
from training.export import onnx_export
from training.export.onnx_export import OnnxExportError, OnnxParityError, export_onnx


def settle(model, images, sharpness=1):
    """Make a fresh model answer each image differently: else agreement between two models would mean nothing.

    Every BatchNormalization gets the statistics of these images, because activations die out with depth, and the last
    layer `sharpness` times its weights.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    kernel, bias = model.get_layer("head_probabilities").get_weights()
    model.get_layer("head_probabilities").set_weights([kernel * sharpness, bias])
    assert np.ptp(model.predict_on_batch(images), axis=0).max() > 0.1
    return model


@pytest.fixture
def images(dataset):
    return dataset.x_test[:40]


@pytest.fixture
def model(images):
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone(16, "keras")
    model = keras.Model(backbone.input, attach_head("dense", backbone.output, 3), name="tiny")
    return settle(model, np.asarray(resize(images, 16)), sharpness=10)


def test_answers_as_the_keras_model_at_any_batch_size(tmp_path, model, images):
    difference = export_onnx(model, tmp_path / "model.onnx", images)
    served = OnnxModel(tmp_path / "model.onnx")
    for batch in (1, 5, 40):
        inputs = np.asarray(resize(images[:batch], 16))
        expected = model.predict_on_batch(inputs)
        found = served.predict_on_batch(inputs)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 0 <= difference <= 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_mobilenet_v2_keeps_its_answers(tmp_path):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)  # blobs of colour, as photographs have them
    image = keras.Input((96, 96, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1, name="preprocess_rescaling")(image)
    backbone = keras.applications.MobileNetV2(weights=None, include_top=False, input_tensor=scaled)
    model = keras.Model(image, attach_head("dense", backbone.output, 10), name="mobilenet_v2")
    inputs = np.asarray(resize(coarse, 96))
    settle(model, inputs)
    export_onnx(model, tmp_path / "model.onnx", coarse)
    served = OnnxModel(tmp_path / "model.onnx")
    for batch in (1, 5):
        expected = model.predict_on_batch(inputs[:batch])
        np.testing.assert_allclose(served.predict_on_batch(inputs[:batch]), expected, atol=1e-4)


def test_names_what_goes_in_and_out(tmp_path, model, images):
    export_onnx(model, tmp_path / "model.onnx", images[:2])
    graph = onnx.load(tmp_path / "model.onnx")
    (image,), (output,) = graph.graph.input, graph.graph.output
    assert (image.name, output.name) == ("images", "head_probabilities")
    assert image.type.tensor_type.shape.dim[0].dim_param == output.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] == 18
    served = OnnxModel(tmp_path / "model.onnx")
    assert (served.input_shape, served.output_shape) == ((None, 16, 16, 3), (None, 3))


def test_a_model_with_several_outputs_keeps_their_order(tmp_path, model, images):
    names = ["block_2_add", "block_1_relu"]
    prefix = keras.Model(model.input, [model.get_layer(name).output for name in names])
    inputs = np.asarray(resize(images, 16))
    export_onnx(prefix, tmp_path / "prefix.onnx", inputs)  # float32 at the model's own size
    assert [output.name for output in onnx.load(tmp_path / "prefix.onnx").graph.output] == names
    found = OnnxModel(tmp_path / "prefix.onnx").outputs(inputs)
    for one, other in zip(found, prefix.predict_on_batch(inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_model_that_was_read_from_disk_is_exported_too(tmp_path, model, images):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert export_onnx(again, tmp_path / "model.onnx", images) < 1e-5


def test_a_model_that_answers_otherwise_is_not_left(tmp_path, model, images, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the ONNX file of the last run")
    convert = onnx_export._convert

    def convert_another(model, partial):
        other = keras.models.clone_model(model)
        other(np.zeros((1, 16, 16, 3)))
        convert(other, partial)

    monkeypatch.setattr(onnx_export, "_convert", convert_another)
    with pytest.raises(OnnxParityError, match=r"within 0\.0001 on 40 images.*Received: a difference of 0\.\d"):
        export_onnx(model, path, images)
    assert list(tmp_path.iterdir()) == []


def test_answers_that_are_no_numbers_are_no_agreement(tmp_path, model, images):
    layer = model.get_layer("head_probabilities")
    layer.set_weights([weight * np.nan for weight in layer.get_weights()])
    with pytest.raises(OnnxParityError, match="difference of nan"):
        export_onnx(model, tmp_path / "model.onnx", images)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_converted_says_so(tmp_path, model, images, monkeypatch):
    def refuse(*_, **__):
        raise KeyError("Erfc is not supported")

    monkeypatch.setattr(keras.Model, "export", refuse)
    with pytest.raises(OnnxExportError, match="tiny cannot be converted to ONNX: .*Erfc"):
        export_onnx(model, tmp_path / "model.onnx", images)
    assert list(tmp_path.iterdir()) == []


def test_says_nothing_on_the_screen(tmp_path, model, images, capfd):
    export_onnx(model, tmp_path / "model.onnx", images[:1])
    assert capfd.readouterr() == ("", "")


def test_no_images_are_refused(tmp_path, model):
    with pytest.raises(ValueError, match="at least one image"):
        export_onnx(model, tmp_path / "model.onnx", np.zeros((0, 16, 16, 3), np.uint8))


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"onnxruntime cannot read .*model\.onnx"):
        OnnxModel(tmp_path / "model.onnx")


def test_a_kernel_that_grad_cam_reads_turned_is_stored_once(tmp_path, images):
    backbone = tiny_backbone(16, "keras")
    model = keras.Model(backbone.input, attach_head("flatten", backbone.output, 3), name="tiny")
    export_onnx(with_grad_cam(settle(model, np.asarray(resize(images, 16)))), tmp_path / "model.onnx", images)
    large = [tensor for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer if len(tensor.raw_data) > 40_000]
    assert len(large) == 1
    assert sorted(large[0].dims) == [256, 768]
