"""Real NVP on the towers of LSUN, as on its bedrooms."""

import ml_collections

from train.configs import lsun_bedroom


def get_config() -> ml_collections.ConfigDict:
    config = lsun_bedroom.get_config()
    config.dataset = "lsun/tower"
    return config
