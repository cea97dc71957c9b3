"""`Detector`: which events a flow has not been trained for."""

import json
import pathlib
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp import export
from tfp_realnvp.anomaly.calibration import Calibration, check_groups
from tfp_realnvp.anomaly.scores import Score, default_score, features_graph, measuring, score_of
from tfp_realnvp.common import replacing
from tfp_realnvp.fingerprint import fingerprint
from tfp_realnvp.model import FlowModel

FORMAT = 1


class Detector:
    """Finds anomalies by a score of oddness, at a rate of false alarms that a calibration guarantees.

    Args:
      model: `FlowModel`.
      score: `Score`; "auto" for `Likelihood` of vectors and `Statistics` of images.

    Attributes:
      calibration: `Calibration`, None before `calibrate`.

    Raises:
      ValueError: for a score that does not fit the flow.

    Example:

    ```python
    detector = rnvp.anomaly.Detector(model)
    detector.calibrate(held_out)                        # events that the flow was not trained on
    detector.is_anomaly(images, false_alarms=0.01)      # bool [N]
    detector.save("detector.npz")
    ```
    """

    def __init__(self, model: FlowModel, score: Score | str = "auto") -> None:
        score = default_score(model) if isinstance(score, str) and score == "auto" else score
        if not isinstance(score, Score):
            raise ValueError(f'score must be "auto" or a Score; got {score!r}')
        self.model, self.score = model, score
        self.calibration: Calibration | None = None
        self._measure = measuring(model, [score])

    def calibrate(self, held_out: Any, batch_size: int = 200) -> None:
        """Takes held-out events as the measure of the ordinary.

        The flow must not have been trained on them: its own training events are less odd than others.

        Args:
          held_out: as for `evaluation.log_likelihood`; for a conditional flow `(x, y)`. Groups are consecutive events.
          batch_size: number of events per pass.

        Raises:
          ValueError: as `Calibration.of`, and for events that do not fit the flow.

        Example: `detector.calibrate(held_out)`
        """
        (features,) = self._measure(held_out, batch_size)
        self.calibration = Calibration.of(self.score, features)

    def oddness(self, data: Any, batch_size: int = 200) -> np.ndarray:
        """The oddness of events by the score: a float64 array [N], or one for each group.

        Args:
          data, batch_size: as for `calibrate`.

        Raises:
          ValueError: before `calibrate`, or for events that do not fit the flow or the groups.

        Example: `detector.oddness(images)`
        """
        return self._calibrated.oddness_of(self._features(data, batch_size)).numpy()

    def p_values(self, data: Any, batch_size: int = 200) -> np.ndarray:
        """The conformal p-values of events, small for odd ones: a float64 array [N], or one for each group.

        Args:
          data, batch_size: as for `calibrate`.

        Raises:
          ValueError: as `oddness`.

        Example: `detector.p_values(images)`, see `Calibration.p_values`.
        """
        return self._calibrated.p_values(self._features(data, batch_size)).numpy()

    def is_anomaly(self, data: Any, false_alarms: float = 0.01, batch_size: int = 200) -> np.ndarray:
        """Whether events are anomalies: a bool array [N], or one for each group.

        Args:
          data, batch_size: as for `calibrate`.
          false_alarms: the rate at which ordinary events may be called anomalies, from 1 / (n + 1) for n held-out
            events.

        Raises:
          ValueError: as `oddness`, and for a `false_alarms` that so few held-out events cannot guarantee.

        Example: `images[detector.is_anomaly(images)]`
        """
        least = 1 / (len(self._calibrated.oddness) + 1)
        if not least <= false_alarms < 1:
            raise ValueError(
                f"false_alarms must be from 1/(n + 1) = {least:.3g}, by the held-out events, to 1; got {false_alarms!r}"
            )
        return self.p_values(data, batch_size) <= false_alarms

    def save(self, filepath: Any) -> None:
        """Writes the score and the calibration into a .npz file, to be kept beside the flow's own file.

        Raises:
          ValueError: before `calibrate`, or for another ending of the name.
          OSError: where the file cannot be written.

        Example: `model.save("flow.keras"); detector.save("detector.npz")`
        """
        path = pathlib.Path(filepath)
        if path.suffix != ".npz":
            raise ValueError(f"filepath must end in .npz; got {str(filepath)!r}")
        calibration = self._calibrated
        header = {
            "format": FORMAT,
            "model": fingerprint(self.model),
            "score": type(self.score).__name__,
            "config": self.score.config(),
        }
        arrays: dict[str, Any] = {**calibration.parameters, "oddness": calibration.oddness}
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez(file, header=json.dumps(header), **arrays)

    @classmethod
    def load(cls, filepath: Any, model: FlowModel, general_model: FlowModel | None = None) -> "Detector":
        """The detector of a file, for the same flow.

        Args:
          filepath: path of a file that `save` wrote.
          model: the flow, with the same weights.
          general_model: the second flow of a `Ratio`.

        Raises:
          ValueError: for a file that is missing, damaged, of a newer format, or of another flow.

        Example: `Detector.load("detector.npz", rnvp.load_model("flow.keras"))`
        """
        path = pathlib.Path(filepath)
        if not path.is_file():
            raise ValueError(f"filepath must be a detector's file; there is no file {str(path)!r}")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            header = json.loads(str(arrays.pop("header")))
            oddness, number = arrays.pop("oddness"), header["format"]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError) as error:
            raise ValueError(f"{path} is damaged, or no file of a detector ({error})") from error
        if number != FORMAT:
            raise ValueError(f"format of {path} must be {FORMAT}; got {number!r}, of another version of tfp_realnvp")
        if header["model"] != fingerprint(model):
            raise ValueError(f"model must be the flow of the detector {path}, with the same weights; got another one")
        detector = cls(model, score_of(header["score"], header["config"], general_model))
        detector.calibration = Calibration(detector.score, arrays, oddness)
        return detector

    def export(self, filepath: Any) -> None:
        """Writes the flow as `FlowModel.export`, with one more signature, `p_value`.

        Its inputs are those of `log_prob`. Its outputs are `p_value` and `oddness`, float64 [N], or for each group.

        Raises:
          ValueError: before `calibrate`, and as `FlowModel.export`.
          OSError: as `FlowModel.export`.

        Example: `detector.export("flow/1")`
        """
        calibration = self._calibrated
        function, _ = features_graph(self.model, [self.score])
        _, specs = export.endpoints(self.model)["log_prob"]

        def p_value(x: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
            (features,) = function(x, *export.checked_contexts(context, tf.shape(x)[0]))
            return {"p_value": calibration.p_values(features), "oddness": calibration.oddness_of(features)}

        export.write(self.model, filepath, {"p_value": (export.of_shapes(p_value, specs), specs)})

    @property
    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise ValueError("detector must be calibrated with held-out events first: calibrate(held_out)")
        return self.calibration

    def _features(self, data: Any, batch_size: int) -> np.ndarray:
        (features,) = self._measure(data, batch_size)
        check_groups("data", len(features), self.score.group_size)
        return features
