"""The families of flows, a row each: every test that is about all families takes its flows from this table."""

import dataclasses
import functools

import tfp_realnvp as rnvp


def _the_small_flow_alone():
    return {"": {}}


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of flows: a small flow, which is quickly built, and its variants for the tests.

    A variant maps a name to the arguments that differ from the small flow's; `{"": {}}` is the small flow itself. A
    new family needs no variant.

    Attributes:
      cls: the class of the family.
      small: the arguments of the small flow.
      laws: the flows that obey the laws of bijectors, see laws.py.
      trained: the flows that are trained, saved and rebuilt, see architectures/test_architecture.py.
      extreme: the flows that see extreme images of 8×8×3, see test_robustness.py.
      rematerialized: the flows that are compared with their rematerialized twins, see
        networks/test_rematerialization.py; only where the class takes `rematerialize`.
      is_continuous: whether the flow solves differential equations, so that it refuses mixed precision.
    """

    cls: type
    small: dict
    laws: dict = dataclasses.field(default_factory=_the_small_flow_alone)
    trained: dict = dataclasses.field(default_factory=_the_small_flow_alone)
    extreme: dict = dataclasses.field(default_factory=_the_small_flow_alone)
    rematerialized: dict = dataclasses.field(default_factory=_the_small_flow_alone)
    is_continuous: bool = False


IMAGE, VECTOR = (4, 4, 1), (3,)
FAMILIES = [
    Family(
        rnvp.RealNVP,
        dict(event_shape=IMAGE, num_scales=1, filters=4, num_blocks=1),
        laws={
            "": dict(num_scales=2),
            "undivided": dict(
                num_scales=2, num_bins=None, recursion_type=1, use_affine=False, running_average=0.5, bottleneck=True
            ),
            "quarters": dict(
                num_scales=2, num_bins=None, recursion_type=4, scale_first=True, use_batch_norm=False, skip=False
            ),
            "vectors": dict(event_shape=VECTOR, filters=8),
        },
        trained={
            "vectors": dict(event_shape=VECTOR),
            "classes": dict(num_classes=3),
            "vectors and contexts": dict(event_shape=VECTOR, context_size=2),
        },
        extreme={"": {}, "without batch norm": dict(use_batch_norm=False, alpha=1e-6)},
        rematerialized={"": {}, "running averages": dict(running_average=0.5)},
    ),
    Family(
        rnvp.Glow,
        dict(event_shape=IMAGE, num_scales=2, steps_per_scale=1, filters=4),
        laws={"": dict(num_bins=None)},
        trained={
            "": dict(bound="tanh"),
            "classes": dict(num_classes=3),
            "mixture": dict(num_classes=3, mixture_base=True),
        },
        extreme={"": dict(steps_per_scale=2), "tanh": dict(steps_per_scale=2, bound="tanh")},
        rematerialized={"classes": dict(num_scales=1, steps_per_scale=2, num_classes=2)},
    ),
    Family(
        rnvp.FFJORD,
        dict(event_shape=VECTOR, hidden_units=[4], filters=2),
        laws={},
        trained={"": {}, "images and classes": dict(event_shape=IMAGE, num_classes=3)},
        extreme={},
        is_continuous=True,
    ),
    Family(
        rnvp.Jet,
        dict(event_shape=IMAGE, patch_size=2, num_couplings=2, num_blocks=1, width=4, num_heads=2),
        laws={"": dict(num_bins=None, whitening=True, kinds=("channels", "spatial"))},
        trained={"": dict(whitening=True), "classes": dict(num_classes=3, kinds=("spatial", "channels"))},
        extreme={"": dict(whitening=True, kinds=("spatial", "channels"))},
    ),
    Family(
        rnvp.MRCNF,
        dict(event_shape=IMAGE, num_scales=2, num_blocks=1, filters=2),
        laws={},
        extreme={},
        is_continuous=True,
    ),
    Family(
        rnvp.NICE,
        dict(event_shape=IMAGE, hidden_units=[8]),
        laws={"": dict(event_shape=(4,))},
        trained={"": {}, "vectors and contexts": dict(event_shape=VECTOR, context_size=2)},
    ),
    Family(
        rnvp.SubpixelFlow,
        dict(event_shape=IMAGE, num_scales=1, filters=2, num_blocks=1),
        laws={"": dict(event_shape=(4, 4, 2), filters=4, num_bins=None)},
        trained={
            "refined": dict(refining_scales=1, refining_steps=1, refining_filters=2),
            "classes": dict(num_classes=3, num_components=2, coarse_units=4),
        },
        extreme={},
    ),
    Family(
        rnvp.UvA,
        dict(event_shape=IMAGE, multi_scale=True, filters=2, num_blocks=1),
        laws={"": dict(num_bins=None)},
        trained={"": {}, "contexts": dict(multi_scale=False, context_size=2)},
        extreme={"": dict(multi_scale=False, dequantization="variational")},
    ),
    Family(
        rnvp.VectorRealNVP,
        dict(event_shape=VECTOR, num_couplings=2, hidden_units=[8]),
        laws={"": dict(norm="batch")},
        trained={
            "": dict(norm="batch", random_masks=True),
            "contexts": dict(context_size=2),
            "classes": dict(num_classes=3, norm=None),
        },
        extreme={},
    ),
]


def flows(test):
    """The flows of a test.

    Args:
      test: "laws", "trained", "extreme" or "rematerialized", the attribute of `Family` with the variants.

    Returns:
      Name → function that makes the flow, with `seed=0`; it takes further arguments, and has its own as `keywords`.

    Example: `flows("trained")["RealNVP, classes"](num_bins=17)`
    """
    return {
        ", ".join(filter(None, (family.cls.__name__, variant))): functools.partial(
            family.cls, **{"seed": 0, **family.small, **arguments}
        )
        for family in FAMILIES
        for variant, arguments in getattr(family, test).items()
    }
