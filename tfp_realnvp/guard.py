"""Training steps that are not finite: what tells them, and the condition under which a step ends one way or another."""

import tensorflow as tf


def is_finite(loss, gradients):
    """Whether the loss and every gradient are finite on all replicas: a bool tensor.

    What tells is loss + Σ g² / 2: one pass over the gradients, and no copies of the weights.

    Args:
      loss: scalar tensor.
      gradients: list of tensors, None among them.
    """
    squares = [tf.nn.l2_loss(gradient) for gradient in gradients if gradient is not None]
    total = tf.add_n([tf.cast(term, tf.float32) for term in (loss, *squares)])
    if tf.distribute.has_strategy():
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)
    return tf.math.is_finite(total)


def either(condition, then, otherwise, *args):
    """Calls `then(*args)` where the condition holds, otherwise `otherwise(*args)`.

    Args:
      condition: bool tensor that the replicas agree on.
      then, otherwise: functions without a result. Under a distribution strategy they run in each replica's context.
      *args: structures of this replica's tensors. What they hold of the replica's has to be here, not in a closure.

    Example: `either(is_finite(loss, gradients), apply, skip, gradients)`
    """

    def decide(strategy, condition, *args):
        def run(function):
            if tf.distribute.in_cross_replica_context():
                strategy.extended.call_for_each_replica(function, args)
            else:
                function(*args)

        holds = strategy.experimental_local_results(condition)[0]
        tf.cond(holds, lambda: run(then), lambda: run(otherwise))

    # Keras's optimizers may merge the replicas, which is not allowed within a condition: it has to be around them.
    tf.__internal__.distribute.interim.maybe_merge_call(decide, tf.distribute.get_strategy(), condition, *args)
