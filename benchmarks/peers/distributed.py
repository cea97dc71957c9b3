"""One of several workers that train a flow together, each bound to a core of its own."""

import json
import os
import time

import keras
import numpy as np
import tensorflow as tf

import tfp_realnvp as rnvp


class Share:
    """A worker of a cluster, or a worker that trains alone, as a contestant: a flow on random images.

    Args:
      family: name of the flow's class.
      config: arguments of the class.
      batch_size: images per step, of all workers together.
      addresses: list of the workers' "host:port"; one entry for a worker that trains alone.
      index: the place of this worker in the list.
      core: number of the only core that the process may use.
    """

    def __init__(self, family, config, batch_size, addresses, index, core):
        os.sched_setaffinity(0, {core})
        strategy = tf.distribute.get_strategy()
        if len(addresses) > 1:
            task = {"type": "worker", "index": index}
            os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        with strategy.scope():
            self._model = getattr(rnvp, family)(**config, seed=0)
            self._model.compile()
        images = np.random.default_rng(0).integers(0, 256, (batch_size, *config["event_shape"]), np.uint8)
        self._batches = tf.data.Dataset.from_tensors(images).repeat()

    def seconds(self, steps):
        """Seconds for this number of steps, after an untimed first step."""
        times = []
        note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: times.append(time.perf_counter()))
        self._model.fit(self._batches, steps_per_epoch=1 + steps, verbose=0, callbacks=[note])
        return times[-1] - times[0]
