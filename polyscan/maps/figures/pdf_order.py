"""One numbering for a PDF's objects and one order of its dictionaries, where the writer leaves both to chance."""

from __future__ import annotations

import re
from collections.abc import Mapping

OBJECT = re.compile(rb"(\d+) 0 obj\b")
REFERENCE = re.compile(rb"\b(\d+) 0 R\b")
RUN = re.compile(rb"(?:^[ \t]+/[A-Za-z]+\d+ \d+ 0 R\n){2,}", re.MULTILINE)
TRAILER = re.compile(rb"trailer\s*(<<.*?>>)\s*startxref", re.DOTALL)
STREAM = b"stream\n"


def in_order(pdf: bytes) -> bytes:
    """The same document, its objects numbered as one comes to them from the trailer, references sorted by name.

    Args:
        pdf: with a plain table of its objects, as PDF 1.4 has it.

    Raises:
        ValueError: if it has no such table.
    """
    head, objects, trailer = parts(pdf)
    numbers = {old: new for new, old in enumerate(reached(objects, trailer), start=1)}
    made = bytearray(head)
    places: list[int] = []
    for old, new in numbers.items():
        places.append(len(made))
        made += b"%d" % new + renumbered(objects[old], numbers)[len(b"%d" % old) :]
    start = len(made)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1) + table
    words = re.sub(rb"/Size \d+", b"/Size %d" % (len(places) + 1), renumbered(trailer, numbers))
    made += b"trailer\n" + words + b"\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(made)


def parts(pdf: bytes) -> tuple[bytes, dict[int, bytes], bytes]:
    """What stands before the objects, the objects by number, and the trailer's dictionary."""
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


def reached(objects: Mapping[int, bytes], trailer: bytes) -> list[int]:
    """Numbers of the objects in the order in which they are first referred to; what nothing refers to is left out."""
    found: dict[int, None] = {}
    ahead = [trailer]
    while ahead:
        named = [int(number) for number in REFERENCE.findall(ahead.pop().partition(STREAM)[0])]
        new = [number for number in dict.fromkeys(named) if number not in found and number in objects]
        found.update(dict.fromkeys(new))
        ahead.extend(objects[number] for number in reversed(new))
    return list(found)


def renumbered(content: bytes, numbers: Mapping[int, int]) -> bytes:
    """The content with its references under their new numbers; a stream is left alone."""
    head, stream, rest = content.partition(STREAM)
    return REFERENCE.sub(lambda match: b"%d 0 R" % numbers[int(match.group(1))], head) + stream + rest


def sorted_names(content: bytes) -> bytes:
    """An object whose runs of references stand in the order of their names; a stream is left alone."""
    head, stream, rest = content.partition(STREAM)
    ordered = RUN.sub(lambda run: b"".join(sorted(run.group(0).splitlines(keepends=True))), head)
    return ordered + stream + rest
