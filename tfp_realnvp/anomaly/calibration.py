"""`Calibration`: from the features of events to their p-values."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.anomaly.scores import Parameters, Score

FEWEST = 20  # events or groups to calibrate with, and to fit a score to


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A score, its parameters, and its values for held-out events.

    Attributes:
      score: `Score`.
      parameters: dictionary of arrays, of `Score.fit`.
      oddness: float64 array [n], the oddness of held-out events or groups, in increasing order.

    Example: `Calibration.of(score, features).p_values(of_others)`
    """

    score: Score
    parameters: Parameters
    oddness: np.ndarray

    @classmethod
    def of(cls, score: Score, features: Any) -> "Calibration":
        """The calibration by held-out events.

        A fitted score takes every other event, or group, for its parameters, and the others for the calibration. Events
        that have shaped a score are less odd than others.

        Args:
          score: `Score`.
          features: float64 array [N, number of features] of the held-out events, of `measuring`.

        Raises:
          ValueError: for fewer than 20 events or groups, for a fitted score fewer than 40, or a number of events that
            the groups do not divide; for features that are not finite.

        Example: `Calibration.of(Likelihood(), features)`
        """
        features = np.asarray(features, np.float64)
        size = score.group_size
        check_groups("held_out", len(features), size)
        if len(features) < fewest_events(score):
            halves = ", half of them to fit the score" if score.is_fitted else ""
            raise ValueError(f"held_out must have at least {fewest_events(score)} events{halves}; got {len(features)}")
        if not np.isfinite(features).all():
            raise ValueError(f"held_out must have a finite score for {score}; got NaN or infinity")
        groups, parameters = features.reshape([-1, size, features.shape[1]]), {}
        if score.is_fitted:
            parameters = dict(score.fit(groups[::2].reshape([-1, features.shape[1]])))
            groups = groups[1::2]
        held_out = groups.reshape([-1, features.shape[1]])
        return cls(score, parameters, np.sort(score.oddness(held_out, **parameters)))

    def oddness_of(self, features: Any) -> tf.Tensor:
        """The oddness of events or groups; infinite where a feature is NaN.

        Args:
          features: float64 array or tensor [N, number of features].

        Example: `calibration.oddness_of(features)`
        """
        oddness = self.score.oddness(features, **self.parameters)
        return tf.where(tf.math.is_nan(oddness), tf.constant(np.inf, oddness.dtype), oddness)

    def p_values(self, features: Any) -> tf.Tensor:
        """The conformal p-values: a float64 tensor [N], or one for each group.

        ```none
        p = (1 + #{held-out events at least as odd}) / (n + 1)
        ```

        For an event like the held-out ones, P(p ≤ α) ≤ α, whatever the flow and the score are.

        Args:
          features: as for `oddness_of`.

        Example: `calibration.p_values(features) <= 0.01`

        References: Vovk, Gammerman and Shafer, Algorithmic learning in a random world, section 2.2; arXiv 2104.08279.
        """
        less_odd = tf.searchsorted(self.oddness, self.oddness_of(features), side="left")
        number = len(self.oddness)
        return tf.cast(1 + number - less_odd, tf.float64) / (number + 1)


def fewest_events(score: Score) -> int:
    """The smallest number of held-out events for a calibration.

    Example: `fewest_events(Typicality(5))` is 200.
    """
    return FEWEST * score.group_size * (2 if score.is_fitted else 1)


def check_groups(argument: str, number: int, group_size: int) -> None:
    """Raises a ValueError for a number of events that is not a multiple of the group size.

    Args:
      argument: the name of the events in the message.
      number: int.
      group_size: int.

    Example: `check_groups("data", 10, 5)`
    """
    if number % group_size:
        raise ValueError(f"{argument} must have a multiple of group_size = {group_size} events; got {number}")
