"""`.keras` files: what they carry, what is said of those that cannot be read, and that they are data, not code."""

import base64
import contextlib
import io
import json
import marshal
import pathlib
import pickle
import sys
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest

import tfp_realnvp as rnvp
from tests.families import flows
from tfp_realnvp.internals import sublayers

SHAPE = (4, 4, 1)
IMAGES = np.random.default_rng(0).integers(17, size=(6, *SHAPE)).astype(np.uint8)
CONFIG, WEIGHTS = "config.json", "model.weights.h5"

pytestmark = pytest.mark.usefixtures("module_eagerly")


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """A trained flow, and its file."""
    model = rnvp.NICE(SHAPE, hidden_units=[3], num_bins=17, seed=0, dequantization="uniform")
    model.compile()
    model.train_on_batch(IMAGES)
    path = tmp_path_factory.mktemp("saved") / "flow.keras"
    model.save(path)
    return model, path


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def with_config(path, folder, **fields):
    """A copy of the file with other fields in the config of its model."""
    contents = entries(path)
    config = json.loads(contents[CONFIG])
    config["config"].update(fields)
    return write(folder / "changed.keras", {**contents, CONFIG: json.dumps(config)})


def with_weights(path, folder, change):
    """A copy of the file whose weights `change(file)` has changed."""
    contents = entries(path)
    buffer = io.BytesIO(contents[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        change(file)
    return write(folder / "changed.keras", {**contents, WEIGHTS: buffer.getvalue()})


# What a file carries.


def test_a_file_carries_the_config_and_the_version_of_its_format(flow):
    model, path = flow
    config = json.loads(entries(path)[CONFIG])["config"]
    assert config["format_version"] == rnvp.saving.FORMAT_VERSION
    assert config == json.loads(json.dumps(model.get_config()))
    assert (config["event_shape"], config["num_bins"], config["hidden_units"]) == ([4, 4, 1], 17, [3])


def without_version(path, folder):
    """A copy of the file whose config tells no format."""
    contents = entries(path)
    config = json.loads(contents[CONFIG])
    del config["config"]["format_version"]
    return write(folder / "old.keras", {**contents, CONFIG: json.dumps(config)})


def test_a_file_without_a_version_is_of_the_first_format(flow, tmp_path):
    model, path = flow
    assert rnvp.load_model(without_version(path, tmp_path)).get_config() == model.get_config()


# Files that cannot be read.


@pytest.mark.parametrize("load", [rnvp.load_model, keras.saving.load_model], ids=lambda load: load.__module__)
def test_a_newer_format_is_named(flow, tmp_path, load):
    path = with_config(flow[1], tmp_path, format_version=99, an_option_of_the_future=1)
    with pytest.raises(ValueError, match="format_version must be at most 2; got 99. .*update this one"):
        load(path)


def test_a_format_that_is_read_no_more_is_named(flow, tmp_path):
    options = dict(num_scales=1, filters=2, num_blocks=1, seed=0)
    for shape in ((4, 4, 1), (2,)):
        rnvp.RealNVP(shape, **options).save(tmp_path / f"{len(shape)}.keras")
    path = with_config(tmp_path / "3.keras", tmp_path, format_version=1)
    with pytest.raises(ValueError, match="format_version must be at least 2; got 1. .*older version"):
        rnvp.load_model(path)
    with pytest.raises(ValueError, match="format_version must be at least 2; got 1"):  # also one without a version
        rnvp.load_model(without_version(tmp_path / "3.keras", tmp_path))
    rnvp.load_model(with_config(tmp_path / "1.keras", tmp_path, format_version=1))  # one of vectors is as it was
    rnvp.load_model(with_config(flow[1], tmp_path, format_version=1))  # and so are other flows


def drop(name):
    return lambda file: file.__delitem__(name)


def first_variables(file):
    """The names of a layer's variables, and of the optimizer's."""
    names = []
    file.visit(lambda name: names.append(name) if name.endswith("vars/0") else None)
    return next(name for name in names if "optimizer" not in name)


@pytest.mark.parametrize("load", [rnvp.load_model, keras.saving.load_model], ids=lambda load: load.__module__)
@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.__delitem__(first_variables(file)),
        lambda file: file.__delitem__(first_variables(file).removesuffix("/0")),
        lambda file: file.__delitem__(first_variables(file).removesuffix("/vars/0")),
    ],
    ids=["one", "those of a layer", "the layer"],
)
def test_missing_weights_are_named(flow, tmp_path, load, change):
    path = with_weights(flow[1], tmp_path, change)
    with pytest.raises(ValueError, match="objects could not be loaded(.|\n)*variables"):
        load(path)


def test_a_missing_state_of_the_optimizer_is_named(flow, tmp_path):
    path = with_weights(flow[1], tmp_path, lambda file: file.__delitem__("optimizer/vars/0"))
    with pytest.raises(ValueError, match="could not be loaded(.|\n)*whereas the saved optimizer has 35"):
        rnvp.load_model(path)


def test_weights_of_another_shape_are_refused(flow, tmp_path):
    path = with_config(flow[1], tmp_path, hidden_units=[5])
    with pytest.raises(ValueError, match="9 objects could not be loaded(.|\n)*dense_0"):
        rnvp.load_model(path)


def damaged(path, contents):
    path.write_bytes(contents)
    return path


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(flow, tmp_path, share):
    whole = flow[1].read_bytes()
    path = damaged(tmp_path / "part.keras", whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="part.keras is truncated, or no .keras file"):
        rnvp.load_model(path)


def test_a_damaged_file_is_named(flow, tmp_path):
    whole = bytearray(flow[1].read_bytes())
    whole[len(whole) // 2] ^= 255
    with pytest.raises(ValueError, match="is damaged: the checksum of its model.weights.h5 is wrong"):
        rnvp.load_model(damaged(tmp_path / "flow.keras", bytes(whole)))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_file_without_one_of_its_parts_is_named(flow, tmp_path, name):
    contents = entries(flow[1])
    del contents[name]
    with pytest.raises(ValueError, match=f"part.keras could not be loaded: .*{name}"):
        rnvp.load_model(write(tmp_path / "part.keras", contents))


def test_what_is_no_flow_is_refused(tmp_path):
    other = keras.Sequential([keras.layers.Dense(1)])
    other.build((None, 2))
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="other.keras must hold a flow; got a Sequential"):
        rnvp.load_model(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="filepath must be a .keras file; there is no file '.*/no.keras'"):
        rnvp.load_model(tmp_path / "no.keras")


HUGE = {
    "weights": dict(hidden_units=[10**9]),
    "many layers": dict(hidden_units=[4000] * 10**5),
    "an event": dict(event_shape=[10**6, 10**6, 1]),
    "channels": dict(event_shape=[4, 4, 4000]),
    "classes": dict(num_classes=10**9),
    "noise": dict(dequantization=dict(class_name="tfp_realnvp>VariationalDequantization", config=dict(filters=10**9))),
    "wide noise": dict(
        dequantization=dict(class_name="tfp_realnvp>VariationalDequantization", config=dict(filters=4000))
    ),
}
ODD = [None, -1, 0, 0.5, 1e308, "", "x", [], {}, [[]], {"class_name": None}, True, [None], "[" * 1000]


@pytest.mark.parametrize("name", HUGE)
def test_a_file_that_declares_more_than_it_holds_is_refused_before_memory_is_taken(flow, tmp_path, name):
    path = with_config(flow[1], tmp_path, **HUGE[name])
    tracemalloc.start()
    with pytest.raises(ValueError, match="changed.keras could not be loaded"):
        rnvp.load_model(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "field", ["event_shape", "hidden_units", "num_bins", "dequantization", "seed", "dtype", "name"]
)
def test_a_config_of_other_types_loads_or_is_refused(flow, tmp_path, field):
    for value in ODD:
        with contextlib.suppress(ValueError):
            rnvp.load_model(with_config(flow[1], tmp_path, **{field: value}))


@pytest.mark.parametrize("field", ["dequantization", "dtype", "event_shape"])
def test_a_deeply_nested_config_is_refused(flow, tmp_path, field):
    contents = entries(flow[1])
    config = json.loads(contents[CONFIG])
    for depth in (300, 100_000):
        config["config"][field] = "nested"
        nested = json.dumps(config).replace('"nested"', '{"config":' * depth + "1" + "}" * depth)
        with pytest.raises(ValueError):
            rnvp.load_model(write(tmp_path / "nested.keras", {**contents, CONFIG: nested}))


def test_a_part_that_is_packed_too_tightly_is_refused(flow, tmp_path):
    contents = entries(flow[1])
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONFIG, contents[CONFIG])
        archive.writestr(WEIGHTS, bytes(110 * 2**20))
    with pytest.raises(ValueError, match="its model.weights.h5 of 115343360 bytes is packed into"):
        rnvp.load_model(tmp_path / "bomb.keras")


# A file is data.


def bytecode(path):
    """A lambda that would write a file, as Keras once saved lambdas."""
    code = compile(f"(lambda *_: open({str(path)!r}, 'w'))()", "code", "eval")
    return base64.b64encode(marshal.dumps(code)).decode()


def serialized(module, class_name, config, registered_name=None):
    return dict(module=module, class_name=class_name, config=config, registered_name=registered_name or class_name)


ATTACKS = {  # function(path of a file that must not come into being) ↦ what stands in the place of a dequantization
    "a lambda": lambda path: dict(class_name="__lambda__", config=dict(value=bytecode(path))),
    "a lambda layer": lambda path: serialized(
        "keras.layers",
        "Lambda",
        dict(function=dict(class_name="__lambda__", config=dict(code=bytecode(path), defaults=None, closure=None))),
    ),
    "a function of the system": lambda path: serialized("os", "system", dict(command=f"touch {path}")),
    "a function by its name": lambda path: serialized("posix", "function", "system", "system"),
    "a class that is imported": lambda path: serialized("attack", "Attack", {}),
    "a class of a module of Keras": lambda path: serialized("keras." + "src.attack", "Attack", {}),
    "a graph from a file": lambda path: serialized("keras.layers", "TFSMLayer", dict(filepath=str(path.parent))),
    "a class that nobody registered": lambda path: serialized(None, "Unregistered", {}, "mine>Unregistered"),
    "a function that loads": lambda path: serialized("keras.utils", "function", "get_file", "get_file"),
}


@pytest.mark.parametrize("load", [rnvp.load_model, keras.saving.load_model], ids=lambda load: load.__module__)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_file_that_tries_to_run_code_is_refused(flow, tmp_path, monkeypatch, name, load):
    written = tmp_path / "written"
    (tmp_path / "attack.py").write_text(f"open({str(written)!r}, 'w')\nclass Attack: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    attack = ATTACKS[name](written)
    contents = entries(flow[1])
    config = json.loads(contents[CONFIG])
    in_place = [  # of the dequantization, of the optimizer, and of the flow itself
        {**config, "config": {**config["config"], "dequantization": attack}},
        {**config, "compile_config": {"optimizer": attack}},
        attack,
    ]
    for changed in in_place:
        with pytest.raises((ValueError, TypeError)):
            load(write(tmp_path / "attack.keras", {**contents, CONFIG: json.dumps(changed)}))
        assert not written.exists() and "attack" not in sys.modules


class Pickled:
    """An object whose unpickling would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_are_never_unpickled(flow, tmp_path):
    contents = entries(flow[1])
    del contents[WEIGHTS]
    written, buffer = tmp_path / "written", io.BytesIO()
    np.savez(buffer, **{"0": np.array([Pickled(written)], dtype=object)})
    contents["model.weights.npz"] = buffer.getvalue()
    with pytest.raises(ValueError, match="could not be loaded"):
        rnvp.load_model(write(tmp_path / "attack.keras", contents))
    assert not written.exists()
    pickle.loads(pickle.dumps(Pickled(written)))
    assert written.exists()  # so the file had code to run


def test_a_file_that_does_not_fit_on_the_disk_is_named_and_leaves_the_old_one(flow, tmp_path, small_disk):
    path = tmp_path / "flow.keras"
    path.write_bytes(b"old")
    for size in (0, 100, 5000):
        with pytest.raises(OSError, match=f"File too large: '{path}'"), small_disk(size):
            flow[0].save(path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("flow.keras", b"old")]


def test_a_link_in_the_place_of_the_draft_is_not_followed(flow, tmp_path):
    (tmp_path / "target").write_text("of another")
    (tmp_path / "draft.flow.keras").symlink_to(tmp_path / "target")
    flow[0].save(tmp_path / "flow.keras")
    assert {path.name for path in tmp_path.iterdir()} == {"flow.keras", "target"}
    assert (tmp_path / "target").read_text() == "of another"


@pytest.mark.parametrize("name", ["glow", "real_nvp"])
@pytest.mark.parametrize("load", [rnvp.load_model, keras.saving.load_model], ids=["ours", "keras"])
def test_files_of_format_2_load_and_predict_as_they_did(name, load):
    folder = pathlib.Path(__file__).parent / "data/format_2"
    predictions = np.load(folder / "predictions.npz")
    model = load(folder / f"{name}.keras")
    np.testing.assert_allclose(model.predict(predictions["images"], verbose=0), predictions[name], rtol=1e-5)
    assert model.compiled == (name == "glow")


# Frozen parts.

FREEZE = {
    "a network": lambda model: setattr(model.networks[0], "trainable", False),
    "a layer inside one": lambda model: setattr(sublayers(model.networks[0])[-1], "trainable", False),
    "a weight": lambda model: setattr(model.trainable_weights[0], "trainable", False),
    "all": lambda model: setattr(model, "trainable", False),
    "all but one": lambda model: (
        setattr(model, "trainable", False),
        setattr(model, "trainable", True),
        [setattr(network, "trainable", False) for network in model.networks[:-1]],
    ),
}


def trainable(model):
    return [part.trainable for part in (*sublayers(model), *model.weights)]


@pytest.mark.parametrize("name, when", [*((name, "before") for name in FREEZE), ("a network", "after")])
@pytest.mark.parametrize("family", ["VectorRealNVP, classes", "Glow"])
def test_frozen_parts_stay_frozen_with_the_state_of_the_optimizer(family, name, when, tmp_path, eagerly):
    model = flows("trained")[family]()
    x = np.random.default_rng(0).integers(17, size=[4, *model.event_shape]).astype("float32")
    y = np.arange(4) % 3 if model.num_classes else None
    model.initialize(x, y)
    if when == "before":
        FREEZE[name](model)
    model.compile(run_eagerly=True)
    model.fit(x, y, verbose=0)
    if when == "after":  # The optimizer still has the state of all.
        FREEZE[name](model)
    assert trainable(model) != trainable(flows("trained")[family]())
    model.save(tmp_path / "flow.keras")
    for again in (
        rnvp.load_model(tmp_path / "flow.keras"),
        keras.saving.load_model(tmp_path / "flow.keras"),
        model.with_dtype("float32"),
    ):
        assert trainable(again) == trainable(model)
        for part, other in zip(
            again.weights + again.optimizer.variables, model.weights + model.optimizer.variables, strict=True
        ):
            np.testing.assert_array_equal(part.numpy(), other.numpy())
    again.compile(run_eagerly=True)
    again.fit(x, y, verbose=0)
    pairs = list(zip(again.weights, model.weights, strict=True))
    changed = [weight for weight, before in pairs if not np.array_equal(weight.numpy(), before.numpy())]
    assert bool(changed) == (name != "all") and all(weight.trainable for weight in changed)


def test_a_file_loads_without_its_optimizer(tmp_path):
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=(4,), seed=0)
    x = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
    model.compile()
    model.train_on_batch(x)
    model.save(tmp_path / "flow.keras")
    loaded = rnvp.load_model(tmp_path / "flow.keras", compile=False)
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert rnvp.load_model(tmp_path / "flow.keras").optimizer.iterations == 1


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
