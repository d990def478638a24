"""Make small pictures of big ones."""

from __future__ import annotations

import dataclasses
import io

from PIL import Image, UnidentifiedImageError

from innkeeper.errors import ErrorCode, HypervisorError

#: The documented thumbnail: 64 by 48 pixels.
THUMBNAIL_SIZE = (64, 48)

#: No screen is wider or higher.
MAX_EDGE = 16384


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture of a screen."""

    #: The picture as PNG.
    png: bytes
    width: int
    height: int


def read_picture(data: bytes) -> Picture:
    """Convert a host's picture, whatever its format (PNG, PPM), to PNG."""
    image = _opened(data)
    if image.format == "PNG":
        return Picture(png=data, width=image.width, height=image.height)
    return _written(image)


def scaled(picture: Picture, width: int, height: int) -> Picture:
    """The picture within these bounds, its proportions kept; a smaller one stays as it is."""
    if picture.width <= width and picture.height <= height:
        return picture
    image = _opened(picture.png).convert("RGB")
    image.thumbnail((width, height), Image.Resampling.BILINEAR)
    return _written(image)


def thumbnail_pixels(picture: Picture) -> tuple[int, ...]:
    """The documented thumbnail: 3,072 numbers, row by row; the upper 8 bits blue, then green, then red."""
    image = _opened(picture.png).convert("RGB").resize(THUMBNAIL_SIZE, Image.Resampling.BILINEAR)
    raw = image.tobytes()
    return tuple(
        blue << 24 | green << 16 | red << 8
        for red, green, blue in zip(raw[::3], raw[1::3], raw[2::3], strict=True)
    )


def black_pixels() -> tuple[int, ...]:
    """The documented thumbnail of a machine that shows nothing."""
    return (0,) * (THUMBNAIL_SIZE[0] * THUMBNAIL_SIZE[1])


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "PPM"))
        if max(image.size) > MAX_EDGE:
            raise ValueError(f"{image.width} by {image.height}")
        image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise HypervisorError(
            f"The host's picture of the screen cannot be read: {error}.", code=ErrorCode.ERROR_INVALID_DATA
        ) from error
    return image


def _written(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", compress_level=3)
    return Picture(png=buffer.getvalue(), width=image.width, height=image.height)
