"""Makes a clean picture of what a stranger sent: decoded, upright, in sRGB, without metadata."""

import contextlib
import io
from typing import Any

from PIL import Image, ImageCms, ImageFile, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SIDE = 16_384

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class Refused(Exception):
    """The image is not taken; the code says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def square(*, source: str, target: str, side: int, quality: int, max_pixels: int) -> dict[str, Any]:
    """Write the middle of the image `source` as a square WebP, `side` pixels wide, to `target`.

    Answers `{"width", "height"}`, or `{"refused": code}` with `image_damaged` or `image_too_large`.
    """
    try:
        image = _decoded(source, max_pixels)
        made = _in_srgb(ImageOps.fit(_plain(image), (side, side), Image.Resampling.LANCZOS), image)
    except Refused as refusal:
        return {"refused": refusal.code}
    except Exception:  # A decoder raises whatever it likes on bytes that nobody expected.
        return {"refused": "image_damaged"}
    made.info.clear()  # Else the colour profile of the source would be written again.
    made.save(target, "WEBP", quality=quality, method=4)
    return {"width": made.width, "height": made.height}


def _decoded(source: str, max_pixels: int) -> Image.Image:
    """The first frame, upright. The size is judged by the header, before anything is decoded."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # Pillow raises at twice this many pixels, also where it would allocate them to read a header.
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        image: Image.Image = Image.open(source, formats=FORMATS)
    except Image.DecompressionBombError:
        raise Refused("image_too_large") from None
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise Refused("image_too_large")
    image.load()
    # Metadata that cannot be read say nothing about how the picture is turned.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    return image


def _plain(image: Image.Image) -> Image.Image:
    """The image with eight bits per channel and without a palette, in a mode that can be scaled."""
    if image.mode in SIXTEEN_BITS:
        # Only a PNG of grey values has more than eight bits here: Pillow would cut them off, not scale them.
        return image.convert("I").point(lambda value: value / 257).convert("L")
    if image.mode in ("RGB", "RGBA", "CMYK", "L") and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _in_srgb(image: Image.Image, origin: Image.Image) -> Image.Image:
    """The image in sRGB, by the profile of the file that it comes from if that has one which can be read."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha is not None else image
    profile = origin.info.get("icc_profile")
    made = None
    if profile:
        with contextlib.suppress(Exception):
            made = ImageCms.profileToProfile(
                colours,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
    made = made or colours.convert("RGB")
    if alpha is not None:
        made.putalpha(alpha)
    return made
