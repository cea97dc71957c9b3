"""Anomalies: scores of oddness under a flow, and detectors with a false alarm rate that holds for any model."""

from tfp_realnvp.anomaly.calibration import Calibration, fewest_events
from tfp_realnvp.anomaly.detector import Detector
from tfp_realnvp.anomaly.scores import Complexity, Likelihood, Ratio, Score, Statistics, Typicality, measuring

__all__ = [
    "Calibration",
    "Complexity",
    "Detector",
    "Likelihood",
    "Ratio",
    "Score",
    "Statistics",
    "Typicality",
    "fewest_events",
    "measuring",
]
