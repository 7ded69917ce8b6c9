"""Owns the cleaning of images: what comes out has nothing of what was sent but the picture."""

from dataclasses import dataclass
from pathlib import Path

from app.core.config import get_settings
from app.core.errors import Invalid
from app.core.isolation import TaskFailed, run_isolated
from app.services.files.forms import refused
from app.services.files.receiving import Received

PORTRAIT_SIDE = 512
PORTRAIT_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Picture:
    """A clean image on the disk, beside what it was made from."""

    path: Path
    width: int
    height: int


async def portrait(source: Received) -> Picture:
    """The middle of an image as a small square WebP.

    422 `image_damaged`, `image_too_large`; 503 `processing_busy`.
    """
    arguments = {
        "source": source.path.name,
        "target": "picture.webp",
        "side": PORTRAIT_SIDE,
        "quality": PORTRAIT_QUALITY,
        "max_pixels": get_settings().image_max_pixels,
    }
    try:
        report = await run_isolated("images.square", source.folder, arguments)
    except TaskFailed:
        raise _damaged() from None
    if report.get("refused") == "image_too_large":
        pixels = get_settings().image_max_pixels
        raise refused("image_too_large", f"An image has at most {pixels} pixels, and 16384 on a side.")
    if "refused" in report:
        raise _damaged()
    return Picture(source.folder / "picture.webp", report["width"], report["height"])


def _damaged() -> Invalid:
    return refused("image_damaged", "The image cannot be read; save it anew and send it again.")
