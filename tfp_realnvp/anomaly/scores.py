"""Scores: how odd an event is under a flow, from less to more."""

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfp_realnvp.anomaly import quantities
from tfp_realnvp.anomaly.quantities import Quantities
from tfp_realnvp.architectures import Architecture
from tfp_realnvp.bijectors import bins
from tfp_realnvp.common import check_positive, value_errors
from tfp_realnvp.fingerprint import fingerprint
from tfp_realnvp.model import FlowModel

RIDGE = 1e-3  # Added to the variances of standardized features: two of them may be one and the same.
Parameters = Mapping[str, np.ndarray]


class Score(abc.ABC):
    """How odd events are: a function of a few features of each, whose parameters follow from ordinary events.

    A subclass defines `features` and `oddness`. A fitted score also defines `fit`, and `is_fitted` is True.

    Attributes:
      is_fitted: whether the score has parameters.
      group_size: number of consecutive events that are judged together.

    Example: `class Brightness(Score): ...`
    """

    is_fitted: ClassVar[bool] = False
    group_size: int = 1

    def check(self, model: FlowModel) -> None:  # noqa: B027 - most scores fit every flow
        """Raises a ValueError for a flow that has no such score.

        Example: `Complexity().check(model)`
        """

    @abc.abstractmethod
    def features(self, batch: Quantities) -> tf.Tensor:
        """The features of each event of a batch: a tensor [batch, number of features].

        Example: `Likelihood().features(Quantities(model, images))`
        """

    def fit(self, features: np.ndarray) -> Parameters:
        """The parameters for `oddness`, from the features of ordinary events, a float64 array [N, number of features].

        Example: `Typicality().fit(features)`
        """
        return {}

    @abc.abstractmethod
    def oddness(self, features: Any, **parameters: Any) -> tf.Tensor:
        """The oddness of each event, or of each group: a float64 tensor.

        Args:
          features: float64, [N, number of features].
          **parameters: as of `fit`.

        Example: `score.oddness(features, **score.fit(of_held_out))`
        """

    def config(self) -> dict[str, Any]:
        """The arguments, as JSON.

        Example: `Typicality(5).config()` is {"group_size": 5}.
        """
        return {}


@dataclasses.dataclass(frozen=True)
class Likelihood(Score):
    """The code length −log2 p(x) / D in bits per dimension, of the whole event or of one scale given the coarser ones.

    For images the likelihood alone fails: simple images are likely under every flow.

    Args:
      scale: None for the whole event, or the number of a scale, of which 0 is the finest.

    Example: `Detector(model, Likelihood())`

    References: Nalisnick et al., arXiv 1810.09136, on its failure; Schirrmeister et al., arXiv 2006.10848, on scales.
    """

    scale: int | None = None

    def check(self, model: FlowModel) -> None:
        if self.scale is None:
            return
        _check_scales(model, self)
        number = quantities.num_scales(model)
        if not isinstance(self.scale, int) or not 0 <= self.scale < number:
            raise ValueError(f"scale must be None or an int from 0 to {number - 1} for this flow; got {self.scale!r}")
        if quantities.num_depths(_flow_of(model)) != number:
            raise ValueError(f"scale must be None for this flow, whose layers have other scales; got {self.scale}")

    def features(self, batch: Quantities) -> tf.Tensor:
        nats = batch.log_prob if self.scale is None else batch.log_probs_of_scales[:, self.scale]
        return -nats[:, tf.newaxis] / (math.prod(batch.model.event_shape) * math.log(2))

    def oddness(self, features: Any, **parameters: Any) -> tf.Tensor:
        return features[:, 0]

    def config(self) -> dict[str, Any]:
        return {"scale": self.scale}


@dataclasses.dataclass(frozen=True)
class Typicality(Score):
    """The distance of the mean code length of a group from the entropy, to both sides, in nats.

    ```none
    | −1/M Σ log p(x_m) − H |,    H = the mean of −log p over held-out events
    ```

    Args:
      group_size: M, number of consecutive events that are judged together; 1 for single events.

    Raises:
      ValueError: for a `group_size` that is not a positive int.

    Example: `Detector(model, Typicality(group_size=5))`

    References: Nalisnick et al., arXiv 1906.02994, equation 5.
    """

    is_fitted: ClassVar[bool] = True
    group_size: int = 1

    def __post_init__(self) -> None:
        check_positive(group_size=self.group_size)

    def features(self, batch: Quantities) -> tf.Tensor:
        return -batch.log_prob[:, tf.newaxis]

    def fit(self, features: np.ndarray) -> Parameters:
        return {"entropy": features.mean()}

    def oddness(self, features: Any, **parameters: Any) -> tf.Tensor:
        return abs(tf.reduce_mean(tf.reshape(features, [-1, self.group_size]), axis=1) - parameters["entropy"])

    def config(self) -> dict[str, Any]:
        return {"group_size": self.group_size}


@dataclasses.dataclass(frozen=True)
class Complexity(Score):
    """The bits of an image by the flow minus its bits as a PNG file: few for ordinary images, simple or not.

    Raises:
      ValueError: by a detector, for a flow of vectors or of images that PNG does not take.

    Example: `Detector(model, Complexity())`

    References: Serrà et al., arXiv 1909.11480, equation 1.
    """

    def check(self, model: FlowModel) -> None:
        _check_png(model, self)

    def features(self, batch: Quantities) -> tf.Tensor:
        return (-batch.log_prob / math.log(2) - batch.bits_of_png)[:, tf.newaxis]

    def oddness(self, features: Any, **parameters: Any) -> tf.Tensor:
        return features[:, 0]


@dataclasses.dataclass(frozen=True)
class Statistics(Score):
    """The Mahalanobis distance of several statistics of an event from those of held-out events.

    ```none
    (f − mean)ᵀ (C + ridge)⁻¹ (f − mean)
    f = log-probabilities and log p(z) of all scales, log ‖∇ log p(x)‖, bits of the PNG file
    ```

    The log-probability of a scale holds its share of the log-det. Each statistic is divided by its deviation, and C is
    their correlation. So the score is two-sided in all of them.

    Args:
      complexity: whether the bits of the image as a PNG file are among the statistics.

    Raises:
      ValueError: by a detector, for a flow that is no `Architecture`, or with `complexity` one that PNG does not take.

    Example: `Detector(model, Statistics(complexity=False))`

    References: Morningstar et al., density of states estimation, arXiv 2006.09273.
    """

    is_fitted: ClassVar[bool] = True
    complexity: bool = True

    def check(self, model: FlowModel) -> None:
        _check_scales(model, self)
        if self.complexity:
            _check_png(model, self)

    def features(self, batch: Quantities) -> tf.Tensor:
        single = [batch.log_gradient, batch.bits_of_png] if self.complexity else [batch.log_gradient]
        columns = [part[:, tf.newaxis] for part in single]
        return tf.concat([batch.log_probs_of_scales, batch.log_probs_of_latents, *columns], axis=1)

    def fit(self, features: np.ndarray) -> Parameters:
        deviation = features.std(axis=0)
        deviation[deviation == 0] = 1.0
        mean = features.mean(axis=0)
        standardized = (features - mean) / deviation
        correlation = standardized.T @ standardized / len(features)
        root = np.linalg.cholesky(correlation + RIDGE * np.eye(len(mean)))
        return {"mean": mean, "whitening": np.linalg.inv(root) / deviation}

    def oddness(self, features: Any, **parameters: Any) -> tf.Tensor:
        white = tf.matmul(features - parameters["mean"], parameters["whitening"], transpose_b=True)
        return tf.reduce_sum(white**2, axis=1)

    def config(self) -> dict[str, Any]:
        return {"complexity": self.complexity}


class Ratio(Score):
    """log p_general(x) − log p(x) in nats, by a second flow of more general or of perturbed events.

    What both flows know of all events cancels.

    Args:
      general_model: `FlowModel` of the same events and contexts.

    Raises:
      ValueError: by a detector, for flows of different events.

    Example: `Detector(model, Ratio(general_model))`

    References: Ren et al., arXiv 1906.02845; Schirrmeister et al., arXiv 2006.10848.
    """

    def __init__(self, general_model: FlowModel) -> None:
        self.general_model = general_model

    def check(self, model: FlowModel) -> None:
        for name in ("event_shape", "num_bins", "num_classes", "context_size"):
            here, there = getattr(model, name), getattr(self.general_model, name)
            if here != there:
                raise ValueError(f"general_model must have the {name} of the model, {here}; got {there}")

    def features(self, batch: Quantities) -> tf.Tensor:
        return (self.general_model.log_likelihood(batch.x, batch.context) - batch.log_prob)[:, tf.newaxis]

    def oddness(self, features: Any, **parameters: Any) -> tf.Tensor:
        return features[:, 0]

    def config(self) -> dict[str, Any]:
        return {"general_model": fingerprint(self.general_model)}


def measuring(model: FlowModel, scores: Sequence[Score]) -> Callable[..., list[np.ndarray]]:
    """A function that measures the features of events for several scores, with one pass of the flow for all of them.

    Args:
      model: `FlowModel`.
      scores: sequence of `Score`.

    Returns:
      A function (data, batch_size=200) ↦ a float64 array [N, number of features] for each score. The data are those of
      `evaluation.log_likelihood`.

    Raises:
      ValueError: for a score that does not fit the flow.

    Example: `of_likelihood, of_statistics = measuring(model, [Likelihood(), Statistics()])(images)`
    """
    for score in scores:
        score.check(model)
    function, specs = features_graph(model, scores)
    graph = tf.function(function, input_signature=specs, autograph=False)

    def measure(data: Any, batch_size: int = 200) -> list[np.ndarray]:
        with value_errors():
            parts = [
                graph(*(tf.cast(part, spec.dtype) for part, spec in zip(batch, specs, strict=False)))
                for batch in model.batches(data, batch_size)
            ]
        return [np.concatenate(features) for features in zip(*parts, strict=True)]

    return measure


def features_graph(
    model: FlowModel, scores: Sequence[Score]
) -> tuple[Callable[..., list[tf.Tensor]], list[tf.TensorSpec]]:
    """The function behind `measuring`, of a batch of events and, for a conditional flow, of its contexts.

    Returns:
      `(function, specs)`: the function of tensors, and the specs of its inputs.

    Example: `function, specs = features_graph(model, [Likelihood()])`
    """
    events, contexts = model.events, model.events.contexts
    specs = [tf.TensorSpec([None, *model.event_shape], events.dtype)]
    if contexts.size:
        specs.append(tf.TensorSpec([None, *contexts.shape], contexts.dtype))

    def features(x: tf.Tensor, *context: tf.Tensor) -> list[tf.Tensor]:
        batch = Quantities(model, events.checked_tensor(tf.cast(x, events.dtype)), *context)
        return [tf.cast(score.features(batch), tf.float64) for score in scores]

    return features, specs


def default_score(model: FlowModel) -> Score:
    """`Likelihood` for vectors and `Statistics` for images, without the complexity where PNG does not take them.

    For images of a flow that is no `Architecture` it is `Typicality`.

    Example: `default_score(rnvp.VectorRealNVP((2,)))`
    """
    if len(model.event_shape) != 3:
        return Likelihood()
    return Statistics(complexity=_fits_png(model)) if isinstance(model, Architecture) else Typicality()


def score_of(name: Any, config: dict[str, Any], general_model: FlowModel | None) -> Score:
    """The score of a name and a config, as of `Score.config`.

    Args:
      name: the name of a class of this module.
      config: dictionary.
      general_model: the second flow of a `Ratio`, None for all other scores.

    Raises:
      ValueError: for another name, or another `general_model`.

    Example: `score_of("Typicality", {"group_size": 5}, None)`
    """
    known = {cls.__name__: cls for cls in (Likelihood, Typicality, Complexity, Statistics, Ratio)}
    if name not in known:
        raise ValueError(f"score must be one of {sorted(known)}; got {name!r}")
    if name == Ratio.__name__:
        if general_model is None or fingerprint(general_model) != config["general_model"]:
            raise ValueError(f"general_model must be the second flow of the detector's Ratio; got {general_model!r}")
        return Ratio(general_model)
    if general_model is not None:
        raise ValueError(f"general_model must be None for the score {name}, which has no second flow")
    return known[name](**config)


def _check_scales(model: FlowModel, score: Score) -> None:
    if not isinstance(model, Architecture):
        raise ValueError(
            f"model must be an Architecture, whose latents have scales, for {score}; got a {type(model).__name__}"
        )


def _check_png(model: FlowModel, score: Score) -> None:
    if not _fits_png(model):
        raise ValueError(
            f"model must be a flow of images with 1 to 4 channels, which PNG takes, for {score}; got events of shape "
            f"{model.event_shape} with num_bins={model.num_bins}"
        )


def _fits_png(model: FlowModel) -> bool:
    return len(model.event_shape) == 3 and model.event_shape[-1] <= 4 and model.num_bins is not None


def _flow_of(model: FlowModel) -> Any:
    return bins.data_to_latent(model.example_distribution(model.events.contexts))
