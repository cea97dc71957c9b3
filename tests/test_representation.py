"""Representations show the parts of masks, couplings, networks, wrappers and flows; a summary shows every shape."""

import io
import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import families
from tfp_realnvp.bijectors import Coupling, FactorOut, Logit, Squeeze, masks
from tfp_realnvp.networks import MLP, Rematerialized, ResNet, TanhScale, WithContext
from tfp_realnvp.representation import describe

tfb = tfp.bijectors

RESNET = "ResNet(out_channels=4, checkerboard=1)"


@pytest.mark.parametrize(
    "object, expected",
    [
        (masks.Checkerboard(), "Checkerboard(top_left=1)"),
        (masks.Channel(keep_first=False), "Channel(keep_first=False, num_first=None)"),
        (masks.Split([1, 0]), "Split(b=[1, 0])"),
        (masks.Dense(np.ones([1, 20, 1])), "Dense(b=array of shape (1, 20, 1))"),
        (masks.ChangeAll(3), "ChangeAll(event_ndims=3)"),
        (Squeeze(), "Squeeze(diagonal_first=False)"),
        (Logit(17), "Logit(num_bins=17, alpha=0.05)"),
        (MLP(4), "MLP(out_units=4)"),
        (MLP(4, [8], seed=3), "MLP(out_units=4, hidden_units=(8,))"),
        (TanhScale(ResNet(4, checkerboard=1)), f"TanhScale(network={RESNET})"),
        (Rematerialized(MLP(4)), "Rematerialized(network=MLP(out_units=4))"),
        (
            WithContext(MLP(4), tf.zeros([2, 3])),
            "WithContext(network=MLP(out_units=4), context=tensor of shape (2, 3))",
        ),
        (
            Coupling([1, 0], MLP(4)),
            "Coupling(mask=[1, 0], conditioner=MLP(out_units=4), bijector_fn=affine)",
        ),
        (
            FactorOut(tfb.Chain([tfb.Invert(Squeeze()), tfb.Exp(), Squeeze()])),
            """FactorOut(
  inner=sequential(Squeeze(diagonal_first=False), Exp(), Invert(Squeeze(diagonal_first=False)))
  num_kept=None
)""",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_representation_shows_the_parts(object, expected):
    assert repr(object) == expected


def test_arguments_with_parts_of_their_own_have_a_line_each():
    assert describe("A", "b" * 60, c="d" * 60) == f"A(\n  {'b' * 60!r}\n  c={'d' * 60!r}\n)".replace("'", "'")
    assert describe("A", 1, c=2) == "A(1, c=2)"


def test_a_flow_shows_its_layers_from_data_to_latent():
    lines = repr(rnvp.NICE((4,), num_couplings=2, hidden_units=[3], seed=0)).splitlines()
    assert lines[0] == "NICE(" and lines[-1] == ")"
    assert "b=[1, 0, 1, 0]" in lines[2] and "ChangeAll" in repr(lines[-3:])


def test_a_flow_of_a_distribution_without_layers_shows_the_distribution():
    normal = tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), 2)
    assert repr(rnvp.FlowModel(normal)).startswith("FlowModel(\n  distribution=<tfp.distributions.Sample")


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.cls.__name__)
def test_a_summary_shows_every_shape(family):
    model, out = family.cls(**family.small, seed=0), io.StringIO()
    model.summary(print_fn=lambda line, **_: out.write(line + "\n"), line_length=200)
    assert "?" not in out.getvalue() and "((" not in re.sub(r"\(\w+\)", "", out.getvalue())
