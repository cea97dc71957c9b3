"""Lossless compression of images by flows with exact probabilities of pixel levels."""

from tfp_realnvp.compression.codec import Archive, Codec, code_length

__all__ = ["Archive", "Codec", "code_length"]
