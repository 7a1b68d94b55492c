"""Goldens of image decoding and resizing: small files made here, and the RGB pixels that Pillow reads from them."""
import io
import json
import struct

import numpy as np
from PIL import Image, ImageOps

import formula
import png_writer


def write_ppm(path, pixels):
    """Binary PPM: "P6\\n<width> <height>\\n255\\n", then RGB bytes row by row."""
    height, width, _ = pixels.shape
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + np.ascontiguousarray(pixels).tobytes())


def picture(name, height, width, noise=40):
    """Smooth colours with some noise: what a JPEG file holds, without being trivial."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    smooth = 128 + 90 * np.sin(0.21 * x + 0.9 * c) * np.cos(0.17 * y - 0.5 * c)
    return np.clip(smooth + noise * formula.signed_tensor(name, (height, width, 3)), 0, 255).astype(np.uint8)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pillow_rgb(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


# ---------------------------------------------------------------- JPEG

def exif_orientation(orientation, little_endian):
    """APP1 body of an EXIF block with a Make entry before the Orientation entry."""
    order = "<" if little_endian else ">"
    entries = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
    entries += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return (b"Exif\0\0" + (b"II" if little_endian else b"MM") + struct.pack(order + "HI", 42, 8) +
            struct.pack(order + "H", 2) + entries + struct.pack(order + "I", 0))


def insert_segment(jpeg, marker, body):
    """A segment right behind the start-of-image marker."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def segments(jpeg):
    """(marker, begin, end) of the segments before the first scan."""
    at = 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", jpeg[at + 2:at + 4])[0]
        yield jpeg[at + 1], at, end
        at = end


def without_segment(jpeg, marker):
    for found, begin, end in segments(jpeg):
        if found == marker:
            return jpeg[:begin] + jpeg[end:]
    raise ValueError(f"no segment {marker:#x}")


def with_adobe_transform(jpeg, transform):
    """The Adobe segment's colour transform replaced (0 none, 1 YCbCr, 2 YCCK)."""
    for found, begin, end in segments(jpeg):
        if found == 0xEE and jpeg[begin + 4:begin + 9] == b"Adobe":
            return jpeg[:end - 1] + bytes((transform,)) + jpeg[end:]
    raise ValueError("no Adobe segment")


def cmyk_picture(name, height, width):
    rgb = Image.fromarray(picture(name, height, width))
    black = Image.fromarray((picture(name + ".k", height, width)[..., 0] // 3).astype(np.uint8))
    return Image.merge("CMYK", (*rgb.convert("CMYK").split()[:3], black))


def ycck_jpeg(name, height, width):
    """Components Y, Cb, Cr, K as an Adobe encoder writes them (inverted CMY as YCbCr)."""
    ycc = Image.fromarray(picture(name, height, width)).convert("YCbCr").split()
    black = Image.fromarray(255 - picture(name + ".k", height, width)[..., 0] // 3)
    stored = [Image.fromarray(255 - np.asarray(plane)) for plane in (*ycc, black)]  # the encoder inverts once more
    return with_adobe_transform(encode(Image.merge("CMYK", stored), "JPEG", quality=92), 2)


def jpeg_files():
    def rgb(name, height, width, **options):
        return encode(Image.fromarray(picture(name, height, width)), "JPEG", **options)

    grey = Image.fromarray(picture("grey", 30, 43)[..., 1])
    yield "rgb_420.jpg", rgb("rgb_420", 37, 45, quality=90, subsampling=2)
    yield "rgb_422.jpg", rgb("rgb_422", 33, 47, quality=90, subsampling=1)
    yield "rgb_444.jpg", rgb("rgb_444", 29, 41, quality=95, subsampling=0)
    yield "rgb_420_progressive.jpg", rgb("progressive", 48, 35, quality=85, subsampling=2, progressive=True)
    yield "rgb_444_optimised.jpg", rgb("optimised", 16, 16, quality=50, subsampling=0, optimize=True)
    yield "grey.jpg", encode(grey, "JPEG", quality=90)
    yield "grey_progressive.jpg", encode(grey, "JPEG", quality=70, progressive=True)
    cmyk = encode(cmyk_picture("cmyk", 31, 42), "JPEG", quality=92)
    yield "cmyk_adobe.jpg", cmyk
    yield "cmyk_without_adobe.jpg", without_segment(cmyk, 0xEE)
    yield "ycck_adobe.jpg", ycck_jpeg("ycck", 34, 39)
    adobe = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)
    plain = without_segment(rgb("adobe_rgb", 25, 40, quality=95, subsampling=0), 0xE0)
    yield "rgb_adobe_transform0.jpg", insert_segment(plain, 0xEE, adobe)
    for orientation in range(1, 9):
        upright = rgb("orientation", 19, 34, quality=92, subsampling=0)
        body = exif_orientation(orientation, little_endian=orientation % 2 == 1)
        yield f"exif_{orientation}.jpg", insert_segment(upright, 0xE1, body)
    grey_exif = insert_segment(encode(grey, "JPEG", quality=80), 0xE1, exif_orientation(6, little_endian=False))
    yield "grey_exif_6.jpg", grey_exif


# ---------------------------------------------------------------- PNG and BMP

def palette_picture():
    return Image.fromarray(picture("palette", 26, 35)).quantize(13, dither=Image.Dither.NONE)


def png_files():
    """(name, bytes, expected pixels or None for Pillow's)."""
    def words(name, channels, height=24, width=31):
        size = height * width * channels
        bits = formula.mix(np.arange(size), formula.fnv1a(name))
        return (bits >> np.uint32(16)).astype(np.uint16).reshape(height, width, channels)

    rgb = picture("png", 27, 38)
    alpha = picture("png.alpha", 27, 38)[..., 0]
    yield "rgb.png", encode(Image.fromarray(rgb), "PNG"), None
    yield "rgba.png", encode(Image.fromarray(np.dstack((rgb, alpha))), "PNG"), None
    yield "grey.png", encode(Image.fromarray(rgb[..., 0]), "PNG"), None
    yield "grey_alpha.png", encode(Image.fromarray(np.dstack((rgb[..., 0], alpha)), "LA"), "PNG"), None
    yield "grey_1bit.png", encode(Image.fromarray(rgb[..., 0]).convert("1"), "PNG"), None
    yield "palette.png", encode(palette_picture(), "PNG"), None
    yield "palette_4bit.png", encode(palette_picture(), "PNG", bits=4), None
    yield "palette_transparent.png", encode(palette_picture(), "PNG", transparency=bytes(range(0, 255, 20))), None
    yield "rgb_colour_key.png", encode(Image.fromarray(rgb), "PNG", transparency=tuple(int(v) for v in rgb[3, 4])), None
    yield "rgb_interlaced.png", png_writer.png_bytes(rgb, png_writer.RGB, interlaced=True), None
    for name, channels, colour_type in (("rgb_16bit", 3, png_writer.RGB), ("grey_16bit", 1, png_writer.GREY),
                                        ("rgba_16bit", 4, png_writer.RGBA),
                                        ("grey_alpha_16bit", 2, png_writer.GREY_ALPHA)):
        pixels = words(name, channels)
        yield name + ".png", png_writer.png_bytes(pixels, colour_type), png_writer.high_byte(pixels)
    yield "rgb.bmp", encode(Image.fromarray(rgb), "BMP"), None


# ---------------------------------------------------------------- resizing

RESIZES = (  # pattern, height, width -> height, width
    ("noise", 37, 23, 16, 16), ("noise", 23, 37, 16, 29), ("noise", 17, 31, 40, 48), ("noise", 48, 48, 47, 49),
    ("noise", 150, 200, 24, 32), ("noise", 200, 33, 7, 33), ("noise", 33, 200, 33, 7), ("noise", 1, 1, 5, 3),
    ("noise", 29, 1, 9, 4), ("noise", 32, 32, 1, 1), ("blocks", 41, 35, 19, 24), ("blocks", 21, 18, 37, 44),
    ("blocks", 40, 40, 80, 20), ("smooth", 60, 45, 32, 24), ("smooth", 25, 31, 25, 48), ("smooth", 90, 67, 48, 48))
SHORT_SIDES = (  # pattern, height, width -> short side, then crop; odd differences round half to even
    ("noise", 45, 60, 33, 28), ("noise", 60, 45, 31, 28), ("smooth", 100, 75, 32, 28), ("noise", 50, 37, 40, 35),
    ("blocks", 53, 87, 27, 24), ("noise", 30, 30, 30, 25))
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resize_cases(folder):
    cases = []
    for number, (pattern, height, width, out_height, out_width) in enumerate(RESIZES):
        source = Image.fromarray(formula.pattern_byte(pattern, f"resize{number}", height, width))
        for name, pillow_filter in FILTERS.items():
            target = f"resize_{number:02}_{name}.ppm"
            write_ppm(folder / target, np.asarray(source.resize((out_width, out_height), pillow_filter)))
            cases.append({"pattern": pattern, "seed_name": f"resize{number}", "height": height, "width": width,
                          "filter": name, "out_height": out_height, "out_width": out_width, "pixels": target})
    return cases


def crop_cases(folder):
    """Short side to `side` (long side truncated to an integer), then a central crop, as torchvision does both."""
    cases = []
    for number, (pattern, height, width, side, crop) in enumerate(SHORT_SIDES):
        source = Image.fromarray(formula.pattern_byte(pattern, f"crop{number}", height, width))
        short = min(height, width)
        out_height, out_width = (int(side * extent / short) for extent in (height, width))
        top, left = (int(round((extent - crop) / 2.0)) for extent in (out_height, out_width))
        for name, pillow_filter in FILTERS.items():
            resized = source.resize((out_width, out_height), pillow_filter)
            target = f"crop_{number:02}_{name}.ppm"
            write_ppm(folder / target, np.asarray(resized.crop((left, top, left + crop, top + crop))))
            cases.append({"pattern": pattern, "seed_name": f"crop{number}", "height": height, "width": width,
                          "filter": name, "short_side": side, "out_height": out_height, "out_width": out_width,
                          "crop": crop, "top": top, "left": left, "pixels": target})
    return cases


def make(out, versions):
    folder = out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    decode = []
    files = [(name, data, None) for name, data in jpeg_files()] + list(png_files())
    for name, data, expected in files:
        pixels = pillow_rgb(data) if expected is None else expected
        target = name.replace(".", "_") + ".ppm"
        (folder / name).write_bytes(data)
        write_ppm(folder / target, pixels)
        decode.append({"file": name, "pixels": target, "width": pixels.shape[1], "height": pixels.shape[0],
                       "source": "pillow" if expected is None else "high byte"})
    index = {"format": 1, "versions": versions, "decode": decode, "resize": resize_cases(folder),
             "crop": crop_cases(folder)}
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return len(decode)
