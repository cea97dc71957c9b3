"""`if_finite`: which of two ways a training step ends, agreed on by all replicas."""

import tensorflow as tf


def if_finite(loss, gradients, then, otherwise, *args):
    """Calls `then(*args)` if the loss and every gradient are finite on all replicas, otherwise `otherwise(*args)`.

    What tells is loss + Σ g² / 2: one pass over the gradients, and no copies of the weights.

    Args:
      loss: scalar tensor.
      gradients: list of tensors, None among them.
      then, otherwise: functions without a result. Under a distribution strategy they run in each replica's context.
      *args: structures of this replica's tensors. What they hold of the replica's has to be here, not in a closure.

    Example: `if_finite(loss, gradients, apply, skip, gradients)`
    """
    squares = [tf.nn.l2_loss(gradient) for gradient in gradients if gradient is not None]
    total = tf.add_n([tf.cast(term, tf.float32) for term in (loss, *squares)])
    if tf.distribute.has_strategy():
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)

    def decide(strategy, total, *args):
        def run(function):
            if tf.distribute.in_cross_replica_context():
                strategy.extended.call_for_each_replica(function, args)
            else:
                function(*args)

        is_finite = tf.math.is_finite(strategy.experimental_local_results(total)[0])
        tf.cond(is_finite, lambda: run(then), lambda: run(otherwise))

    # Keras's optimizers may merge the replicas, which is not allowed within a condition: it has to be around them.
    tf.__internal__.distribute.interim.maybe_merge_call(decide, tf.distribute.get_strategy(), total, *args)
