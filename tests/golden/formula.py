"""The formulas that make weights, inputs, messages and sampling positions, identical to formula.h bit for bit.

Everything is a function of (index, seed): nothing has to be stored in order to be known in both languages.
The index of an element is its position in a row-major tensor: weights [out, in, height, width], feature maps,
images and messages [batch, height, width, channels].
"""
import numpy as np

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def fnv1a(name):
    """32-bit FNV-1a hash of a name's bytes: the seed of the tensor of that name."""
    value = 2166136261
    for byte in name.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def mix(index, seed):
    """32 well-mixed bits for each index (array of integers), as uint32."""
    with np.errstate(over="ignore"):
        bits = np.asarray(index).astype(np.uint32) * np.uint32(2654435761)
        bits = bits + np.uint32((seed * 40503 + 1) & 0xFFFFFFFF)
        bits ^= bits >> np.uint32(16)
        bits = bits * np.uint32(0x85EBCA6B)
        bits ^= bits >> np.uint32(13)
        bits = bits * np.uint32(0xC2B2AE35)
        bits ^= bits >> np.uint32(16)
    return bits


def uniform(index, seed):
    """float32 in [-1, 1): 24 bits, exact."""
    return (mix(index, seed) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def unit(index, seed):
    """float32 in [0, 1): 24 bits, exact."""
    return (mix(index, seed) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def signed_tensor(name, shape):
    """u in [-1, 1): messages, and inputs of any sign."""
    return uniform(np.arange(int(np.prod(shape))), fnv1a(name)).reshape(shape)


def relu_tensor(name, shape):
    """max(u, 0): about half the elements are 0, as behind a ReLU."""
    return np.maximum(signed_tensor(name, shape), np.float32(0))


def image_tensor(name, shape):
    """RGB image in [0, 1)."""
    return unit(np.arange(int(np.prod(shape))), fnv1a(name)).reshape(shape)


def normalised_image_tensor(name, shape):
    """The same image, (p - MEAN) / STD per channel in double precision, rounded to float32."""
    pixels = image_tensor(name, shape).astype(np.float64)
    return ((pixels - np.array(MEAN)) / np.array(STD)).astype(np.float32)


def sample_index(count, size, seed):
    """`count` ascending positions in a tensor of `size` elements, one in each of `count` equal strata (int64)."""
    k = np.arange(count, dtype=np.int64)
    begin = k * size // count
    end = (k + 1) * size // count
    return begin + mix(k, seed).astype(np.int64) % (end - begin)


def parameter(name, shape, last_norm=False):
    """A ResNet's parameter by torchvision name, float32, each value rounded once from double precision.

    `last_norm` marks parameters of the last batch norm of a residual block (its weight is halved, so that the
    residual stream grows slowly)."""
    index = np.arange(int(np.prod(shape)))
    u = uniform(index, fnv1a(name)).astype(np.float64)
    kind = name.rsplit(".", 1)[1]
    if len(shape) == 4:
        value = u * np.sqrt(6.0 / (shape[1] * shape[2] * shape[3]))
    elif len(shape) == 2:
        value = u / np.sqrt(float(shape[1]))
    elif kind == "weight":
        value = (1.0 + 0.5 * u) * np.where(index % 11 == 3, -1.0, 1.0) * (0.5 if last_norm else 1.0)
    elif kind == "running_var":
        value = 1.0 + 0.5 * u
    elif kind in ("bias", "running_mean"):
        value = 0.1 * u
    else:
        raise ValueError(f"no formula for parameter '{name}'")
    return value.astype(np.float32).reshape(shape)


def pattern_byte(pattern, name, height, width):
    """Test image [height, width, 3] of uint8: `noise`, `blocks` (0 and 255 only) or `smooth` (ramps)."""
    if pattern == "noise":
        return (mix(np.arange(height * width * 3), fnv1a(name)) >> np.uint32(24)).astype(np.uint8).reshape(
            height, width, 3)
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    if pattern == "blocks":
        return ((x // 5 + y // 3 + c) % 2 * 255).astype(np.uint8)
    if pattern == "smooth":
        return ((x * 5 + y * 3 + c * 60) % 256).astype(np.uint8)
    raise ValueError(f"unknown pattern '{pattern}'")
