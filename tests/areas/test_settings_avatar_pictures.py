"""Portraits of every kind of picture: what comes out is upright, in its colours, and says nothing else."""

import io
import struct
import zlib
from typing import Any

import pytest
from httpx import AsyncClient, Response
from PIL import Image, ImageCms, PngImagePlugin

from app.core.config import get_settings
from tests.support.images import decoded, encoded, picture
from tests.support.personas import Persona

URL = "/api/settings/avatar"
RED, BLUE = (200, 40, 40), (40, 40, 200)


async def send(client: AsyncClient, who: Persona, data: bytes) -> Response:
    return await client.post(URL, files={"file": ("x", data)}, headers=who.headers)


async def portrait(client: AsyncClient, who: Persona, data: bytes) -> tuple[Image.Image, bytes]:
    answer = await send(client, who, data)
    assert answer.status_code == 200, answer.text
    shown = await client.get(answer.json()["avatar_url"].removeprefix("http://api.luneo.test"))
    return decoded(shown.content), shown.content


def is_near(found: object, wanted: tuple[int, ...], by: int = 30) -> bool:
    assert isinstance(found, tuple)
    return all(abs(one - other) <= by for one, other in zip(found, wanted, strict=False))


def sides(image: Image.Image) -> tuple[object, object]:
    """A pixel of the left and one of the right side."""
    return image.getpixel((64, 256)), image.getpixel((448, 256))


def jpeg_in_cmyk() -> bytes:
    return picture("JPEG", mode="CMYK", quality=95)


def grey_of_16_bits() -> bytes:
    """Left a third of full brightness, right two thirds."""
    image = Image.new("I;16", (64, 64), 21845)
    image.paste(43690, (32, 0, 64, 64))
    return encoded(image)


def animated(kind: str) -> bytes:
    frames = [decoded(picture()), Image.new("RGB", (640, 480), (0, 200, 0))]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, loop=0)


def palette_with_a_hole() -> bytes:
    image = decoded(picture()).quantize(8)
    return encoded(image, transparency=image.getpixel((0, 0)))


COLOURED = {
    "png": picture(),
    "jpeg": picture("JPEG", quality=95),
    "progressive jpeg": picture("JPEG", quality=95, progressive=True),
    "webp": picture("WEBP", quality=95),
    "lossless webp": picture("WEBP", lossless=True),
    "cmyk": jpeg_in_cmyk(),
    "alpha": picture(mode="RGBA"),
    "palette": encoded(decoded(picture()).quantize(8)),
    "interlaced": picture(interlace=True),
    "animated webp": animated("WEBP"),
    "animated png": animated("PNG"),
    "tiny": picture(size=(2, 2)),
    "wide": picture(size=(16_384, 2)),
}


@pytest.mark.parametrize("kind", COLOURED)
async def test_picture_when_it_has_colours(client: AsyncClient, alice: Persona, kind: str) -> None:
    image, _ = await portrait(client, alice, COLOURED[kind])
    assert (image.format, image.size) == ("WEBP", (512, 512))
    assert getattr(image, "n_frames", 1) == 1
    left, right = sides(image)
    # What is very wide shows its middle only, and two pixels blend over the whole picture.
    if kind not in ("wide", "tiny"):
        assert is_near(left, RED), left
        assert is_near(right, BLUE), right


async def test_picture_when_it_has_16_bits(client: AsyncClient, alice: Persona) -> None:
    image, _ = await portrait(client, alice, grey_of_16_bits())
    left, right = sides(image)
    assert is_near(left, (85, 85, 85), 6), left
    assert is_near(right, (170, 170, 170), 6), right


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
async def test_picture_when_it_is_grey(client: AsyncClient, alice: Persona, mode: str) -> None:
    image, _ = await portrait(client, alice, picture(mode=mode))
    assert image.size == (512, 512)
    left, _ = sides(image)
    assert isinstance(left, tuple)
    assert max(left[:3]) - min(left[:3]) <= 3


async def test_picture_when_a_colour_is_transparent(client: AsyncClient, alice: Persona) -> None:
    image, _ = await portrait(client, alice, palette_with_a_hole())
    left, right = sides(image)
    assert isinstance(left, tuple)
    assert (image.mode, left[3]) == ("RGBA", 0)
    assert is_near(right, (*BLUE, 255))


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue columns have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    places = {}
    for index in range(count):
        at = 132 + 12 * index
        places[bytes(data[at : at + 4])] = at + 4
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    return bytes(data)


async def test_picture_when_it_has_a_profile_of_its_own(client: AsyncClient, alice: Persona) -> None:
    image, data = await portrait(client, alice, picture(icc_profile=swapped_profile()))
    left, right = sides(image)
    assert is_near(left, BLUE), left
    assert is_near(right, RED), right
    assert "icc_profile" not in image.info
    assert b"ICCP" not in data


async def test_picture_when_its_profile_is_rubbish(client: AsyncClient, alice: Persona) -> None:
    image, _ = await portrait(client, alice, picture(icc_profile=b"rubbish" * 50))
    assert is_near(sides(image)[0], RED)


def with_metadata(kind: str) -> bytes:
    """A picture that is turned by 180 degrees and says where it was taken, and by whom."""
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010E] = "SECRET-DESCRIPTION"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.5)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": profile}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "SECRET-AUTHOR")
        text.add_itxt("XML:com.adobe.xmp", "<x>SECRET-XMP</x>")
        return picture(kind, pnginfo=text, **save)
    if kind == "JPEG":
        return picture(kind, comment=b"SECRET-COMMENT", quality=95, **save)
    return picture(kind, xmp=b"<x>SECRET-XMP</x>", quality=95, **save)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_picture_when_it_has_metadata(client: AsyncClient, alice: Persona, kind: str) -> None:
    sent = with_metadata(kind)
    assert b"SECRET" in sent
    assert decoded(sent).getexif().get_ifd(0x8825)
    image, data = await portrait(client, alice, sent)
    left, right = sides(image)
    assert is_near(left, BLUE), left
    assert is_near(right, RED), right
    assert b"SECRET" not in data
    assert not image.getexif()
    assert not {b"EXIF", b"XMP ", b"ICCP"} & {data[at : at + 4] for at in range(len(data))}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_picture_when_it_is_a_page_as_well(client: AsyncClient, alice: Persona, kind: str) -> None:
    page = b"<html><script>alert(document.domain)</script></html>"
    _, data = await portrait(client, alice, picture(kind) + page)
    assert b"script" not in data


async def test_picture_when_a_page_stands_in_a_text_chunk(client: AsyncClient, alice: Persona) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "<script>alert(1)</script>")
    sent = picture(pnginfo=text)
    assert b"<script>" in sent
    _, data = await portrait(client, alice, sent)
    assert b"<script>" not in data


DAMAGED = {
    "png without its end": picture()[:-400],
    "png without its middle": picture()[:100],
    "jpeg without its end": picture("JPEG")[: len(picture("JPEG")) // 2],
    "webp without its end": picture("WEBP")[:200],
    "png of a head only": b"\x89PNG\r\n\x1a\n",
    "jpeg of a head only": b"\xff\xd8\xff",
    "webp of a head only": b"RIFF\x10\x00\x00\x00WEBP",
    "png of noise": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "webp of noise": b"RIFF\x00\x10\x00\x00WEBPVP8 " + bytes(range(256)) * 16,
}


@pytest.mark.parametrize("kind", DAMAGED)
async def test_picture_when_it_is_damaged(client: AsyncClient, alice: Persona, kind: str) -> None:
    answer = await send(client, alice, DAMAGED[kind])
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "image_damaged"), body
    assert body["errors"][0]["pointer"] == "/file"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    """A PNG that says to be this large, and is black: a thousand times smaller than what it unpacks to."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    packer = zlib.compressobj(9)
    line = b"\0" * (width + 1)
    rows = b"".join(packer.compress(line) for _ in range(min(height, 2000))) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(picture("JPEG", size=(16, 16)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    """An animation whose canvas says to be this large."""
    data = bytearray(animated("WEBP"))
    at = data.index(b"VP8X")
    data[at + 12 : at + 15] = (width - 1).to_bytes(3, "little")
    data[at + 15 : at + 18] = (height - 1).to_bytes(3, "little")
    return bytes(data)


LARGE = {
    "bomb": png_of(50_000, 50_000),
    "more than 25 million pixels": png_of(5_001, 5_000),
    "a long side": png_of(16_385, 1),
    "a tall side": png_of(1, 16_385),
    "jpeg": jpeg_of(65_000, 65_000),
    "webp": webp_of(16_000, 16_000),
}


@pytest.mark.parametrize("kind", LARGE)
async def test_picture_when_it_unpacks_to_too_much(client: AsyncClient, alice: Persona, kind: str) -> None:
    assert len(LARGE[kind]) < 1_000_000
    answer = await send(client, alice, LARGE[kind])
    assert (answer.status_code, answer.json()["code"]) == (422, "image_too_large"), answer.text


async def test_picture_when_it_is_as_large_as_allowed(client: AsyncClient, alice: Persona) -> None:
    output = io.BytesIO()
    Image.new("RGB", (5_000, 5_000), RED).save(output, "PNG")
    image, _ = await portrait(client, alice, output.getvalue())
    assert is_near(sides(image)[0], RED)


async def test_picture_when_it_takes_all_the_memory(
    client: AsyncClient, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_settings(), "isolated_memory_mb", 120)
    small = await send(client, alice, picture())
    assert small.status_code == 200, small.text
    large = await send(client, alice, encoded(Image.new("RGBA", (5_000, 5_000), RED)))
    assert (large.status_code, large.json()["code"]) == (422, "image_damaged")
