"""Every field of a config, with the value that it has unless a config file or a flag says otherwise."""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    # Data: "digits", "moons", "folder" (pictures below --data_dir), or the name of a TFDS data set with an "image".
    config.dataset = "digits"
    config.train_split = "train"
    config.validation_split = ""  # chooses the best epoch; "" keeps the last one
    config.test_split = "test"
    config.flip = False  # mirror training images left to right at random
    config.shift = 0.0  # probability of moving a training image by up to a pixel
    config.image_size = (32, 32)  # dataset=folder: height and width to resize to
    config.grayscale = False  # dataset=folder

    config.seed = 0
    config.batch_size = 64
    config.epochs = 10
    config.steps_per_epoch = 0  # 0: as many batches as the training split has

    # Arguments of tfp_realnvp.RealNVP; the shape of the events and the number of levels come with the data.
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 2
    config.model.filters = 32
    config.model.num_blocks = 4
    config.model.alpha = 0.05  # of the logit
    config.model.dtype = "float32"  # of the networks: "float32" or "mixed_bfloat16"

    # Adam: warm-up to the learning rate, then a cosine to the final one; equal ones keep it constant.
    config.learning_rate = 1e-3
    config.final_learning_rate = 1e-3
    config.warmup_steps = 0
    config.clip_norm = 100.0  # of the gradient of the loss in nats

    config.evaluation_batch_size = 200
    config.samples_every = 10  # epochs between pictures of samples
    return config
