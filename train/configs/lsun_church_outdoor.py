"""Real NVP on the churches of LSUN, as on its bedrooms."""

from train.configs import lsun_bedroom


def get_config():
    config = lsun_bedroom.get_config()
    config.dataset = "lsun/church_outdoor"
    return config
