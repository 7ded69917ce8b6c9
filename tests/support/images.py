"""Pictures as people send them, and looks at what became of them."""

import io
from typing import Any

from PIL import Image


def picture(
    kind: str = "PNG", *, size: tuple[int, int] = (640, 480), mode: str = "RGB", **save: Any
) -> bytes:
    """A picture whose left half is reddish and whose right half is bluish, in any mode."""
    base = Image.new("RGB", size, (200, 40, 40))
    base.paste((40, 40, 200), (size[0] // 2, 0, *size))
    image = base if mode == "RGB" else base.convert(mode)
    return encoded(image, kind, **save)


def encoded(image: Image.Image, kind: str = "PNG", **save: Any) -> bytes:
    """The bytes of an image in some format."""
    output = io.BytesIO()
    image.save(output, kind, **save)
    return output.getvalue()


def decoded(data: bytes) -> Image.Image:
    """A picture, read completely."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
