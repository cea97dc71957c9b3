"""Every field of a config, with its default value."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    # Data: a set of train/data/toy.py ("digits", "moons", ...), "folder" (pictures below --data_dir), or the name of a
    # TFDS data set with an "image".
    config.dataset = "digits"
    config.conditional = False  # on each example's label or vector
    config.num_labels = 0  # of the training split, as many of each class; all others are hidden. 0 hides none
    config.labelled_share = 0.0  # of labelled examples in training, about: with num_labels, they repeat
    config.train_split = "train"
    config.validation_split = ""  # chooses the best epoch; "" keeps the last one
    config.test_split = "test"
    config.image_size = (32, 32)  # dataset=folder: height and width to resize to
    config.grayscale = False  # dataset=folder
    config.max_pixels = 2**26  # dataset=folder and mode=score: of a picture, in all frames; larger ones are not decoded

    # Preprocessing of TFDS's images, in this order; 0 omits a step.
    config.central_crop = 0  # the square of this size in the middle
    config.shorter_side = 0  # pixels of the shorter side after resizing (bilinear, rounded to levels)
    config.antialias = True  # of the resizing
    config.crop = 0  # the square of this size, at random in training, in the middle in evaluation
    config.flip = False  # mirror training images left to right at random
    config.shift = 0.0  # probability of moving a training image by up to a pixel

    config.seed = 0
    config.batch_size = 64
    config.epochs = 10
    config.steps_per_epoch = 0  # 0: a pass over the training split
    config.steps_per_execution = 1  # steps in one call of TensorFlow; many for a TPU

    # The class of the flow in tfp_realnvp, and its arguments. A config of another class replaces all arguments. The
    # shape of the events, the numbers of levels and classes, and the size of the context come with the data.
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
    config.model.dequantization = "uniform"  # or "variational"; "exact" for a SubpixelFlow without a refinement
    config.model.dtype = "float32"  # of the networks in training, or "mixed_bfloat16"

    # Whether a new flow first learns its standardization from the training split; True for all families that have one.
    config.adapt = False

    # Whether MRCNF trains its scales one after the other, the coarsest first, each for its share of the epochs and with
    # the learning rates of a whole run.
    config.progressive = False

    # Prefix of a checkpoint of the authors' TensorFlow 1 script, for the initial weights and the model's options.
    config.init_from_official = ""

    config.optimizer = "Adam"  # or "Muon", see rnvp.optimizers

    # The learning rate warms up, stays constant, and then decays to the final one; equal rates stay.
    config.learning_rate = 1e-3
    config.final_learning_rate = 1e-3
    config.warmup_steps = 0
    config.decay_start = 0.0  # fraction of all steps before the decay
    config.decay = "cosine"  # or "linear"; or "exponential", by decay_rate after each epoch instead
    config.decay_rate = 1.0
    config.beta_2 = 0.999
    config.weight_decay = 0.0  # decoupled: the learning rate times this is the share that each weight loses in a step
    config.clip_norm = 100.0  # of the gradient of the loss in nats
    config.max_skipped = 10  # number in a row of skipped steps (loss or gradient not finite) that ends the run
    config.ema_momentum = 0.0  # of moving averages of the weights, to evaluate and keep instead; 0 for none

    # Threads of each operation in --mode=train; 0 for TensorFlow's choice, one per core. With 1, operations run side by
    # side, which is faster for a flow of many independent networks, such as a SubpixelFlow of exact probabilities.
    config.threads_per_operation = 0

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.batch_size = 200
    config.evaluation.num_draws = 1  # draws of the dequantization noise, for the importance-weighted bound
    config.evaluation.exact = False  # whether to evaluate the exact probabilities of the levels too, of SubpixelFlow

    # A run resumes from its last checkpoint. It saves one after each epoch, and also after this number of steps or
    # minutes since the last one; 0 for no such limit.
    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.steps = 0
    config.checkpoint.minutes = 10.0
    config.checkpoint.keep = 3  # number of the last checkpoints to keep, besides the best

    config.samples_every = 10  # epochs between pictures of samples
    return config
