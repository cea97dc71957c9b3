"""Every field of a config, with the value that it has unless a config file or a flag says otherwise."""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    # Data: one of train/toy.py's sets ("digits", "moons", ...), "folder" (pictures below --data_dir), or the name of a
    # TFDS data set with an "image".
    config.dataset = "digits"
    config.conditional = False  # on each example's label, or on the vector that it comes with
    config.train_split = "train"
    config.validation_split = ""  # chooses the best epoch; "" keeps the last one
    config.test_split = "test"
    config.image_size = (32, 32)  # dataset=folder: height and width to resize to
    config.grayscale = False  # dataset=folder

    # Preprocessing of TFDS's images, in this order; 0 leaves a step out.
    config.central_crop = 0  # the square of this size in the middle
    config.shorter_side = 0  # resize (bilinear, rounded to levels) to this many pixels along the shorter side
    config.antialias = True  # of the resizing
    config.crop = 0  # a square of this size, at random in training and in the middle in evaluation
    config.flip = False  # mirror training images left to right at random
    config.shift = 0.0  # probability of moving a training image by up to a pixel

    config.seed = 0
    config.batch_size = 64
    config.epochs = 10
    config.steps_per_epoch = 0  # 0: as many batches as the training split has
    config.steps_per_execution = 1  # that are one call of TensorFlow: many for a TPU

    # The class of the flow, of tfp_realnvp, and its arguments; a config of another class replaces these as a whole. The
    # shape of the events, the numbers of levels and of classes, and the size of the context come with the data.
    config.architecture = "RealNVP"
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 2
    config.model.filters = 32
    config.model.num_blocks = 4
    config.model.alpha = 0.05  # of the logit
    config.model.l2 = 5e-5
    config.model.recursion_type = 2
    config.model.use_affine = True
    config.model.scale_first = False
    config.model.use_batch_norm = True
    config.model.running_average = ml_collections.config_dict.placeholder(float)  # ρ of the paper's batch norm
    config.model.skip = True
    config.model.bottleneck = False
    config.model.dequantization = "uniform"  # or "variational"
    config.model.dtype = "float32"  # of the networks in training: "float32" or "mixed_bfloat16"

    config.adapt = False  # whether a new flow first learns what to standardize its inputs by, from the training split

    # Prefix of a checkpoint of the authors' TensorFlow 1 script: its weights to begin with, and its model's options.
    config.init_from_official = ""

    # Adam: warm-up to the learning rate, which is held and then decays; equal ones keep it constant.
    config.learning_rate = 1e-3
    config.final_learning_rate = 1e-3
    config.warmup_steps = 0
    config.decay_start = 0.0  # fraction of all steps until which it is held
    config.decay = "cosine"  # or "linear", to the final one; or "exponential", by decay_rate after each epoch
    config.decay_rate = 1.0
    config.beta_2 = 0.999
    config.clip_norm = 100.0  # of the gradient of the loss in nats
    config.max_skipped = 10  # a step whose loss or gradient is not finite is skipped; so many in a row end the run
    config.ema_momentum = 0.0  # of the moving averages of the weights, which are then evaluated and kept; 0 for none

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.batch_size = 200
    config.evaluation.num_draws = 1  # of the dequantization noise: the importance-weighted bound

    # A run goes on from its last checkpoint. There is one after each epoch, and within it at the latest after so many
    # steps, or minutes; 0 for none by that count.
    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.steps = 0
    config.checkpoint.minutes = 10.0
    config.checkpoint.keep = 3  # the last so many, and the best

    config.samples_every = 10  # epochs between pictures of samples
    return config
