"""Give a look-up the pages of an image one by one."""

from __future__ import annotations

import struct

from crlcheck._binding import PAGE_SIZE, NativePagedImage


class MissingPageError(Exception):
    """A look-up asked for a page that it is not to have; ``number`` is the page's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"page {number}")
        self.number = number


class PagesOf:
    """
    The pages of an image, of which some may be ``absent``; ``asked`` are those that were
    asked for.
    """

    def __init__(self, image: bytes) -> None:
        (body_end,) = struct.unpack_from("<Q", image, 24)
        (start,) = struct.unpack_from("<I", image, 40)
        self.header = image[:start]
        self.pages = [
            image[at : min(at + PAGE_SIZE, body_end)] for at in range(start, body_end, PAGE_SIZE)
        ]
        self.absent: set[int] = set()
        self.asked: list[int] = []
        self.native = NativePagedImage(self.header, len(image))

    def __call__(self, number: int) -> bytes:
        """Return a page."""
        self.asked.append(number)
        if number in self.absent:
            raise MissingPageError(number)
        return self.pages[number]
