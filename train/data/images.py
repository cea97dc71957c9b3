"""Crops and sizes of images, as integer pixel levels."""

import ml_collections
import tensorflow as tf


def prepare(image: tf.Tensor, config: ml_collections.ConfigDict) -> tf.Tensor:
    """Crops and resizes an image by `config.central_crop` and `config.shorter_side`, for training and evaluation."""
    if config.central_crop:
        image = crop_middle(image, config.central_crop, config.central_crop)
    if config.shorter_side:
        image = resize(image, config.shorter_side, config.antialias)
    return image


def crop_middle(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The window of this size in the middle. An odd margin is larger by a pixel below and on the right."""
    size = tf.shape(image)
    return tf.image.crop_to_bounding_box(image, (size[0] - height) // 2, (size[1] - width) // 2, height, width)


def resize(image: tf.Tensor, shorter_side: int, antialias: bool) -> tf.Tensor:
    """Resizes bilinearly to `shorter_side` pixels along the shorter side and keeps the aspect ratio."""
    size = tf.shape(image)[:2]
    size = tf.cast(tf.round(size * shorter_side / tf.reduce_min(size)), tf.int32)
    return round_to_levels(tf.image.resize(image, size, antialias=antialias))


def round_to_levels(image: tf.Tensor) -> tf.Tensor:
    """Rounds to uint8 pixel levels: bits/dim bounds the likelihood of discrete data only."""
    return tf.cast(tf.round(image), tf.uint8)
