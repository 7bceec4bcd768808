"""The evidence as a PNG: an interval against its limit, as the inbox draws it. Pure; the encoder is the standard library's zlib.

PNG: ISO/IEC 15948 (https://www.w3.org/TR/png/), here with a palette, one byte a pixel, no filter.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from trimtab_bot.inbox.drawing import MARGIN, WIDTH, draw
from trimtab_bot.inbox.interface import Gauge

if TYPE_CHECKING:
    from trimtab_bot.records import GaugeRecord

SCALE = 2
_HEIGHT = 96
_PAPER, _GOOD, _BAD, _INK, _LIMIT, _SOFT = range(6)
_PALETTE = bytes.fromhex("ffffff dff2e1 fbe3e0 1d2733 b3261e 8a94a0")
# Five columns of seven bits each, the lowest bit on top.
_FONT = {
    "0": "3e5149453e",
    "1": "00427f4000",
    "2": "4261514946",
    "3": "2141454b31",
    "4": "1814127f10",
    "5": "2745454539",
    "6": "3c4a494930",
    "7": "0171090503",
    "8": "3649494936",
    "9": "064949291e",
    ".": "0060600000",
    "-": "0808080808",
    "e": "3854545418",
    "+": "08083e0808",
}


class _Canvas:
    """Pixels, one palette index each; coordinates in the drawing's units."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = int(width * SCALE), int(height * SCALE)
        self.rows = [bytearray(self.width) for _ in range(self.height)]

    def box(self, left: float, top: float, width: float, height: float, colour: int) -> None:
        first, last = max(0, round(left * SCALE)), min(self.width, round((left + width) * SCALE))
        for row in self.rows[max(0, round(top * SCALE)) : min(self.height, round((top + height) * SCALE))]:
            row[first:last] = bytes([colour]) * max(0, last - first)

    def text(self, centre: float, top: float, text: str, colour: int) -> None:
        left = centre - len(text) * 3.0
        for place, character in enumerate(text):
            for column, bits in enumerate(bytes.fromhex(_FONT.get(character, "0000000000"))):
                for line in range(7):
                    if bits >> line & 1:
                        self.box(left + place * 6 + column, top + line, 1, 1, colour)

    def png(self) -> bytes:
        pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in self.rows), 9)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 3, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"PLTE", _PALETTE), (b"IDAT", pixels), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )


def gauge_png(gauge: GaugeRecord) -> bytes | None:
    """The picture of an interval (dark, its value in the middle), its limit (red) and the good side (green).

    1280 by 192 pixels. None where a number is not finite.
    """
    drawing = draw(
        Gauge(
            gauge.label,
            gauge.unit,
            gauge.value,
            gauge.low,
            gauge.high,
            gauge.limit,
            good_is_high=gauge.good_is_high,
            n=gauge.n,
            confidence=gauge.confidence,
        )
    )
    if drawing is None:
        return None
    canvas = _Canvas(WIDTH, _HEIGHT)
    canvas.box(drawing.good_from, 14, drawing.good_width, 46, _GOOD)
    canvas.box(drawing.bad_from, 14, drawing.bad_width, 46, _BAD)
    canvas.box(drawing.low, 34, max(1.0, drawing.high - drawing.low), 6, _INK)
    for end in (drawing.low, drawing.high):
        canvas.box(end - 1, 28, 2, 18, _INK)
    canvas.box(drawing.value - 4, 30, 8, 14, _INK)
    canvas.box(drawing.limit - 1.5, 8, 3, 58, _LIMIT)
    canvas.box(MARGIN, 68, WIDTH - 2 * MARGIN, 1, _SOFT)
    for x, label in drawing.ticks:
        canvas.box(x, 68, 1, 5, _SOFT)
        canvas.text(x, 78, label, _INK)
    return canvas.png()
