"""Archives give back the very images, in the bits that the model says, and refuse what they cannot."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import tfp_realnvp as rnvp
from tfp_realnvp.compression import Codec, ans, code_length, decisions

pytestmark = pytest.mark.usefixtures("module_eagerly")


def flow(shape=(4, 4, 2), **options):
    options = dict(num_bins=7, num_scales=2, filters=4, num_blocks=1, dequantization="exact", seed=0) | options
    model = rnvp.SubpixelFlow(shape, **options)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.standard_normal(weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return flow()


@pytest.fixture(scope="module")
def codec(model):
    return Codec(model, batch_size=14)


@pytest.fixture(scope="module")
def images():
    """Zeros, ones, the last level, noise, and samples of another kind: every third level."""
    rng = np.random.default_rng(0)
    every = [np.full([1, 4, 4, 2], level) for level in (0, 1, 6)]
    every += [rng.integers(7, size=[8, 4, 4, 2]), 3 * rng.integers(3, size=[3, 4, 4, 2])]
    return np.concatenate(every).astype("uint8")


@pytest.fixture(scope="module")
def data(codec, images):
    return codec.compress(images, verify=False)


def test_decisions_come_back_in_the_bits_of_their_probabilities():
    rng = np.random.default_rng(0)
    probabilities = rng.beta(0.3, 0.3, size=[5, 2000])
    decisions = rng.random([5, 2000]) > probabilities
    frequencies, seals = ans.frequency(probabilities), rng.integers(2**32, size=5).astype("uint32")
    lanes = ans.encode(decisions, frequencies, seals)
    decoder = ans.Decoder(lanes)
    for column, frequency in zip(decisions.T, frequencies.T, strict=True):
        np.testing.assert_array_equal(decoder.read(frequency), column)
    assert decoder.is_sealed(seals).all() and not decoder.is_sealed(seals + 1).any()
    lower = frequencies / ans.ONE
    bits = -np.log2(np.where(decisions, 1 - lower, lower)).sum(axis=1)
    sizes = np.array([32 * len(lane) for lane in lanes])
    assert np.all(sizes > bits) and np.all(sizes < bits + 8 * 8)


def test_impossible_decisions_cost_many_bits_and_come_back():
    frequencies = ans.frequency(np.array([[0.0, 1.0, 1.0, 0.0]]))
    decisions = np.array([[False, True, False, True]])
    (lane,) = ans.encode(decisions, frequencies, np.zeros([1], "uint32"))
    decoder = ans.Decoder([lane])
    np.testing.assert_array_equal([decoder.read(column) for column in frequencies.T], decisions.T)


def test_images_come_back(codec, images, data):
    decoded = codec.decompress(data)
    assert decoded.dtype == images.dtype
    np.testing.assert_array_equal(decoded, images)


def test_the_size_is_that_of_the_probabilities(codec, model, images, data):
    bits = code_length(model, images)
    np.testing.assert_allclose(bits, -model.predict(images, verbose=0) / np.log(2), rtol=1e-5)
    sizes = 32 * np.array([len(lane) for lane in codec.archive(data)._lanes])
    assert np.all(sizes < 1.001 * bits + 8 * 8)  # A level that is next to impossible takes less.
    assert np.all(sizes[:3] > bits[:3])
    assert len(data) < sizes.sum() / 8 + 2 * len(images) + 400


def test_each_image_can_be_decoded_alone(codec, images, data):
    archive = codec.archive(data)
    assert len(archive) == len(images) == 14
    for number in (0, 9, 12, -1):  # The last entries of a batch are computed by other instructions than the rest.
        np.testing.assert_array_equal(archive[number], images[number])
    np.testing.assert_array_equal(archive[3:13:4], images[3:13:4])
    np.testing.assert_array_equal(archive.images([13, 2, 13]), images[[13, 2, 13]])
    assert archive[:0].shape == (0, 4, 4, 2)
    with pytest.raises(IndexError):
        archive[14]


def test_thumbnails_are_the_coarser_images(codec, images, data):
    np.testing.assert_array_equal(codec.decompress(data, num_scales=0), images[:, ::4, ::4])
    np.testing.assert_array_equal(codec.decompress(data, num_scales=1), images[:, ::2, ::2])
    np.testing.assert_array_equal(codec.decompress(data, num_scales=2), images)
    for wrong in (3, -1, 1.0):
        with pytest.raises(
            ValueError, match=f"num_scales must be None or an int from 0 to 2 for this model; got {wrong}"
        ):
            codec.decompress(data, num_scales=wrong)


def test_thumbnails_of_coarsest_images_whose_pixels_follow_one_another():
    codec = Codec(flow((6, 10, 2), num_scales=1, coarse_units=4), batch_size=4)
    images = np.random.default_rng(0).integers(7, size=[4, 6, 10, 2]).astype("uint8")
    data = codec.compress(images)  # It is decoded, too.
    np.testing.assert_array_equal(codec.decompress(data, num_scales=0), images[:, ::2, ::2])


def test_all_images_of_two_levels_come_back():
    every = np.array(list(itertools.product(range(2), repeat=4)), "uint8").reshape([-1, 2, 2, 1])
    model = flow((2, 2, 1), num_bins=2, num_scales=1)
    np.testing.assert_array_equal(Codec(model).decompress(Codec(model).compress(every)), every)
    assert abs(np.log2(np.sum(2.0 ** -code_length(model, every)))) < 1e-5


def test_levels_of_16_bits_and_a_single_image_come_back():
    model = flow((2, 2, 1), num_bins=1000, num_scales=1, dequantization="uniform", alpha=0.05)
    images = np.random.default_rng(0).integers(1000, size=[1, 2, 2, 1]).astype("uint16")
    codec = Codec(model, batch_size=2)
    decoded = codec.decompress(codec.compress(images))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, images)


@pytest.mark.parametrize("num_bins", [7, 8])
def test_decisions_have_the_probabilities_of_the_levels(num_bins):
    model = flow(num_bins=num_bins)
    codec = Codec(model, batch_size=3)
    images = np.stack([np.full([4, 4, 2], level, np.uint8) for level in (0, 3, num_bins - 1)])
    writer = decisions.Writer(codec._halves, num_bins)
    codec._walk(writer, images)
    is_upper, frequencies = writer.decisions()
    of_lower = frequencies / ans.ONE
    bits = -np.log2(np.where(is_upper, 1 - of_lower, of_lower)).sum(axis=1)
    np.testing.assert_allclose(bits, code_length(model, images), rtol=5e-3)  # The codec rounds parameters.


@pytest.mark.parametrize(
    "settings",
    [
        dict(TF_NUM_INTRAOP_THREADS="2", TF_NUM_INTEROP_THREADS="2", TF_ENABLE_ONEDNN_OPTS="0"),
        dict(TF_ENABLE_ONEDNN_OPTS="1", ONEDNN_MAX_CPU_ISA="AVX2"),
    ],
    ids=["threads, without oneDNN", "AVX2"],
)
def test_other_processes_decode_it(settings, tmp_path, model, images, data):
    model.save(tmp_path / "model.keras")
    (tmp_path / "images.rnvp").write_bytes(data)
    program = (
        "import sys, numpy as np, tfp_realnvp as rnvp\n"
        "codec = rnvp.compression.Codec(rnvp.load_model(sys.argv[1] + '/model.keras'), batch_size=14)\n"
        "np.save(sys.argv[1] + '/decoded.npy', codec.decompress(open(sys.argv[1] + '/images.rnvp', 'rb').read()))"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], env={**os.environ, **settings}, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy"), images)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda data: b"", "it does not begin like one"),
        (lambda data: b"PK" + data, "it does not begin like one"),
        (lambda data: data[:40], "its header is cut or damaged"),
        (lambda data: data[:30] + b"?" + data[31:], "its header is cut or damaged"),
        (lambda data: data[:-1], "it is cut at image 13 of 14"),
        (lambda data: data[:-200], "it is cut at image"),
        (lambda data: data + b"more", "4 bytes follow it"),
        (lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:], r"images \[13\] are damaged, or this machine"),
    ],
)
def test_damaged_archives_are_refused(codec, data, damage, message):
    with pytest.raises(ValueError, match=f"^data must .*{message}"):
        codec.decompress(damage(data))


def test_archives_of_other_models_are_refused(codec, model, data):
    weight = model.trainable_weights[0]
    other = flow()
    other.trainable_weights[0].assign(weight + 1e-3)
    with pytest.raises(ValueError, match="data must be an archive of this model and batch_size: its weights must be"):
        Codec(other, batch_size=14).decompress(data)
    same_weights = rnvp.SubpixelFlow.from_config({**model.get_config(), "alpha": 0.05})
    same_weights.set_weights(model.get_weights())
    with pytest.raises(ValueError, match="data must be an archive of this model and batch_size: its weights must be"):
        Codec(same_weights, batch_size=14).decompress(data)
    noisy = rnvp.SubpixelFlow.from_config({**model.get_config(), "dequantization": "uniform", "name": "noisy"})
    noisy.set_weights(model.get_weights())
    assert Codec(noisy, batch_size=14).decompress(data).shape == (14, 4, 4, 2)
    with pytest.raises(ValueError, match="its batch_size must be 4; got 14"):
        Codec(model, batch_size=4).decompress(data)


def test_a_machine_that_does_not_repeat_its_results_is_noticed(codec, images, monkeypatch):
    monkeypatch.setattr(codec, "decompress", lambda data: images[::-1])
    with pytest.raises(ValueError, match="does not repeat its own results"):
        codec.compress(images)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: rnvp.NICE((4, 4, 1), hidden_units=[4], seed=0), "exact probabilities of its levels for a codec: "),
        (lambda: rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[4], seed=0), "num_bins must be a number"),
        (lambda: flow(num_bins=1), "at least 2 for a codec; got 1"),
        (lambda: flow(num_classes=2), "a flow without a context for a codec; got a conditional one"),
    ],
)
def test_flows_that_cannot_code_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        Codec(make())


def test_images_that_do_not_fit_are_refused(codec, images):
    with pytest.raises(ValueError, match="images must have shape"):
        codec.compress(images[:, :2])
    with pytest.raises(ValueError, match="images must"):
        codec.compress(images + 1)
