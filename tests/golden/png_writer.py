"""PNG files that Pillow cannot write: 16 bits per sample, and Adam7 interlaced ones."""
import struct
import zlib

import numpy as np

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _chunk(tag, body):
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def _rows(samples):
    """Filter byte 0 (none) before each row, samples big-endian."""
    return b"".join(b"\0" + row.tobytes() for row in samples)


def png_bytes(pixels, colour_type, interlaced=False):
    """`pixels`: [height, width, channels], uint8 or uint16."""
    depth = 8 * pixels.dtype.itemsize
    samples = pixels.astype(pixels.dtype.newbyteorder(">"))
    if interlaced:
        passes = (samples[y::dy, x::dx] for x, y, dx, dy in ADAM7)
        data = b"".join(_rows(part) for part in passes if part.size)
    else:
        data = _rows(samples)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour_type, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(data, 9)) +
            _chunk(b"IEND", b""))


def high_byte(pixels):
    """The 8-bit RGB picture of `pixels` [height, width, channels]: high bytes, alpha dropped, grey replicated."""
    bytes_ = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    colour = bytes_[..., : 3 if pixels.shape[2] >= 3 else 1]
    return np.ascontiguousarray(np.broadcast_to(colour, (*pixels.shape[:2], 3)))
