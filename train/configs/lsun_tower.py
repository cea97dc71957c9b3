"""Real NVP on the towers of LSUN, as on its bedrooms."""

from train.configs import lsun_bedroom


def get_config():
    config = lsun_bedroom.get_config()
    config.dataset = "lsun/tower"
    return config
