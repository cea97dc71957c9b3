"""The speed of the machine: products of square matrices, by TensorFlow."""

import tensorflow as tf

SIZE = 2048


class MatrixProduct:
    """A contestant with one method per precision, each a product of matrices."""

    def __init__(self):
        matrix = tf.random.stateless_normal([SIZE, SIZE], [0, 0])
        self._matrices = {dtype: tf.cast(matrix, dtype) for dtype in (tf.float32, tf.bfloat16)}
        self._product = tf.function(tf.matmul)

    def float32(self):
        self._multiply(tf.float32)

    def bfloat16(self):
        self._multiply(tf.bfloat16)

    def _multiply(self, dtype):
        self._product(self._matrices[dtype], self._matrices[dtype])

    def size(self, method):
        del method
        return 1

    def flops(self, method):
        del method
        return 2 * SIZE**3
