"""Ways to fill the hidden pixels of images, and their comparison, for `completion`."""

import time

import numpy as np

import tfp_realnvp as rnvp
from train import complete, gaussian


def known_pixels(task, shape):
    """The mask of a task, True where known: of `complete.mask_of`, or "refine" for the image at half its size."""
    if task != "refine":
        return complete.mask_of(task, shape)
    known = np.zeros(shape, bool)
    known[::2, ::2] = True
    return known


def drawn(model, task, images, known, num_samples, **options):
    """The draws of a model, [S, N] + event_shape: exact ones for "refine", and those of chains otherwise.

    Args:
      options: of `rnvp.completion.sample`; for "refine" only the seed counts.
    """
    if task == "refine":
        return rnvp.completion.refine(model, images[:, ::2, ::2], num_samples, seed=options["seed"]).swapaxes(0, 1)
    posterior = rnvp.completion.sample(model, images, known, num_samples, verbose=2, **options)
    inside = complete.share_inside(posterior, images, np.broadcast_to(~known, images.shape), options["seed"])
    print(
        f"acceptance {posterior.acceptance.mean():.2f}, median R-hat {np.nanmedian(posterior.r_hat):.3f}, "
        f"median ESS {np.nanmedian(posterior.ess):.0f} of {len(posterior.values)}, "
        f"inside of the 90% interval {inside:.3f}"
    )
    return posterior.samples


def biharmonic(images, known, num_bins):
    """The images with hidden pixels by scikit-image's biharmonic equation."""
    from skimage.restoration import inpaint_biharmonic

    levels = [inpaint_biharmonic(image / (num_bins - 1), ~known[..., 0], channel_axis=-1) for image in images]
    return (num_bins - 1) * np.stack(levels)


def compared(model, images, training_images, known, draw):
    """The rows of the table.

    Args:
      model: `FlowModel`.
      images, training_images: arrays [N] + event_shape of levels.
      known: bool array of the shape of an image.
      draw: function that gives the model's draws, [S, N] + event_shape.
    """
    start = time.process_time()
    draws = draw()
    of_draws = time.process_time() - start
    fillings = {
        "conditional mean of a Gaussian": lambda: gaussian.completed(training_images, images, known),
        "biharmonic": lambda: biharmonic(images, known, model.num_bins),
        "tfp_realnvp, a single draw": lambda: draws[-1],
        "tfp_realnvp, mean of the draws": lambda: draws.mean(axis=0),
    }
    rows = []
    for name, filling in fillings.items():
        start = time.process_time()
        filled = filling()
        seconds = time.process_time() - start + (of_draws if name.startswith("tfp") else 0.0)
        rows.append({"filling": name, **measured(filled, images, known, model.num_bins), "CPU seconds": seconds})
    return rows


def measured(filled, images, known, num_bins):
    """The peak signal-to-noise ratio of all hidden pixels, and its standard error by the squared errors of images."""
    errors = np.mean((filled - images.astype(float))[:, ~known] ** 2, axis=1)
    hidden = np.broadcast_to(~known, images.shape)
    share = errors.std(ddof=1) / np.sqrt(len(errors)) / errors.mean()
    return {"PSNR in dB": complete.psnr(filled, images, hidden, num_bins), "±": float(10 / np.log(10) * share)}
