"""Gives a PDF's objects and dictionaries a fixed order, which the PDF writer leaves to chance."""

from __future__ import annotations

import re
from collections.abc import Mapping

OBJECT = re.compile(rb"(\d+) 0 obj\b")
REFERENCE = re.compile(rb"\b(\d+) 0 R\b")
RUN = re.compile(rb"(?:^[ \t]+/[A-Za-z]+\d+ \d+ 0 R\n){2,}", re.MULTILINE)
TRAILER = re.compile(rb"trailer\s*(<<.*?>>)\s*startxref", re.DOTALL)
STREAM = b"stream\n"


def in_order(pdf: bytes) -> bytes:
    """The same document with its objects numbered in the order of references from the trailer, and references sorted.

    Args:
        pdf: a PDF with a plain table of its objects, as in PDF 1.4.

    Raises:
        ValueError: if it has no such table.
    """
    head, objects, trailer = parts(pdf)
    numbers = {old: new for new, old in enumerate(reachable(objects, trailer), start=1)}
    document = bytearray(head)
    places: list[int] = []
    for old, new in numbers.items():
        places.append(len(document))
        document += b"%d" % new + renumbered(objects[old], numbers)[len(b"%d" % old) :]
    start = len(document)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    document += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1) + table
    entries = re.sub(rb"/Size \d+", b"/Size %d" % (len(places) + 1), renumbered(trailer, numbers))
    document += b"trailer\n" + entries + b"\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(document)


def parts(pdf: bytes) -> tuple[bytes, dict[int, bytes], bytes]:
    """The bytes before the objects, the objects by number, and the dictionary of the trailer."""
    table = pdf.rfind(b"\nxref") + 1
    trailer = TRAILER.search(pdf, table)
    if not table or trailer is None:
        raise ValueError("the PDF has no plain table of its objects")
    lines = pdf[table : trailer.start()].split(b"\n")
    places = sorted(int(line[:10]) for line in lines if line.rstrip().endswith(b" n"))
    objects: dict[int, bytes] = {}
    for place, end in zip(places, [*places[1:], table], strict=True):
        match = OBJECT.match(pdf, place)
        if match is None:
            raise ValueError(f"the PDF's table points at byte {place}, where no object begins")
        objects[int(match.group(1))] = sorted_names(pdf[place:end])
    return pdf[: places[0]], objects, trailer.group(1)


def reachable(objects: Mapping[int, bytes], trailer: bytes) -> list[int]:
    """Numbers of the objects in the order of their first reference; objects without a reference are left out."""
    numbers: dict[int, None] = {}
    pending = [trailer]
    while pending:
        references = [int(number) for number in REFERENCE.findall(pending.pop().partition(STREAM)[0])]
        new = [number for number in dict.fromkeys(references) if number not in numbers and number in objects]
        numbers.update(dict.fromkeys(new))
        pending.extend(objects[number] for number in reversed(new))
    return list(numbers)


def renumbered(content: bytes, numbers: Mapping[int, int]) -> bytes:
    """The content with the new numbers in its references; a stream is not changed."""
    head, stream, rest = content.partition(STREAM)
    return REFERENCE.sub(lambda match: b"%d 0 R" % numbers[int(match.group(1))], head) + stream + rest


def sorted_names(content: bytes) -> bytes:
    """The object with consecutive references sorted by name; a stream is not changed."""
    head, stream, rest = content.partition(STREAM)
    ordered = RUN.sub(lambda run: b"".join(sorted(run.group(0).splitlines(keepends=True))), head)
    return ordered + stream + rest
