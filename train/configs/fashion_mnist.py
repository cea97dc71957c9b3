"""Real NVP on Fashion-MNIST, as on MNIST."""

from train.configs import mnist


def get_config():
    config = mnist.get_config()
    config.dataset = "fashion_mnist"
    return config
