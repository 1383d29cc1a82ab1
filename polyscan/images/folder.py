"""Image files in a folder, with one class per sub-folder or without classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from polyscan.errors import ImagesError
from polyscan.images.content import checksum
from polyscan.images.decode import decode
from polyscan.images.listing import Listing
from polyscan.images.names import shown, some
from polyscan.images.options import ImageOptions, list_digest
from polyscan.images.source import Picture, Reject
from polyscan.storage import Storage, printable

PARTS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
"""Folders of class folders, where a data set is divided."""


class FolderImages:
    """The image files below a folder, at any depth.

    The first folder on a file's path is its class (`cats/indoors/1.jpg` is a `cats`), and classes are numbered by
    their sorted names, as torchvision's ImageFolder does it. A file outside any sub-folder has no label. Every file of
    the listing counts, so a file that is not an image becomes a reject.

    Args:
        storage: the folder.
        found: its files in order, and what is left out.
        options: part, limit and the largest size allowed.

    Raises:
        ImagesError: if there is no file, or an option doesn't fit.
    """

    def __init__(self, storage: Storage, found: Listing, options: ImageOptions) -> None:
        options.check_part("a folder of images", ("all",))
        options.check_unused("a folder of images", "image_column", "label_column", "root")
        self.left_out = str(found.left_out)
        if not found.files:
            beside = f"but {self.left_out}" if self.left_out else "(hidden ones don't count)"
            raise ImagesError(
                f"{printable(storage.address)} holds no images: it has no files {beside}; allowed is a folder of "
                "image files, of class folders or of Parquet files. Check the address."
            )
        self._storage = storage
        self._names = list(found.files)
        self._states = list(found.files.values())
        self._options = options
        self._selection = options.selection(len(self._names))
        classes = sorted({name.partition("/")[0] for name in self._names if "/" in name})
        self._labels = {name: label for label, name in enumerate(classes)}

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def digest(self) -> str:
        """Hash of the sorted paths and sizes; independent of the folder's own name."""
        header = ["folder", *self._options.reading]
        sizes = (state.size for state in self._states)
        return list_digest([header, *zip(self._names, sizes, strict=True)])

    @property
    def labels(self) -> str:
        """Where the labels come from; see `ImageSource.labels`."""
        if not self._labels:
            return "none found (no class folders: all files lie in the folder itself)"
        outside = sum("/" not in name for name in self._names)
        without = f"; {outside} files outside them have no label" if outside else ""
        parts = "; they look like parts of a data set, not like classes" if PARTS.issuperset(self._labels) else ""
        return f"class folders, {len(self._labels)} classes ({some(list(self._labels))}){parts}{without}"

    @property
    def stamps(self) -> dict[str, str]:
        """Stamp of each file; see `ImageSource.stamps`."""
        return {shown(name): state.stamp for name, state in zip(self._names, self._states, strict=True)}

    def images_of_file(self, name: str) -> Sequence[int]:
        """The id of the image in a file, if it has one; see `ImageSource.images_of_file`."""
        place = self._places.get(name)
        return range(0) if place is None else self._selection.images(place, place + 1)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Position of each file by its printable name."""
        return {shown(name): place for place, name in enumerate(self._names)}

    def contents(self, images: Sequence[int]) -> Iterator[bytes]:
        """Bytes of these files; see `ImageSource.contents`."""
        for image in images:
            content = self._content(self._selection.place(image))
            yield b"" if isinstance(content, str) else content

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids, file by file; see `ImageSource.read`."""
        for image in images:
            yield self._entry(int(image))

    def _entry(self, image: int) -> Picture | Reject:
        place = self._selection.place(image)
        name = self._names[place]
        path = shown(name)
        content = self._content(place)
        if isinstance(content, str):
            return Reject(image, path, content)
        pixels = decode(content, self._options.max_pixels, self._options.decoding)
        if isinstance(pixels, str):
            return Reject(image, path, pixels, checksum(content))
        class_name = name.partition("/")[0] if "/" in name else ""
        label = self._labels.get(class_name)
        return Picture(image, path, pixels, label, shown(class_name), checksum(content))

    def _content(self, place: int) -> bytes | str:
        """Bytes of the file at a position, or the reason why it can't be read."""
        if self._states[place].size is None:
            return "not a file: a broken or circular link, or a device"
        try:
            return self._storage.read(self._names[place])
        except (FileNotFoundError, PermissionError) as error:
            # A missing or forbidden file on a disk stays unreadable. A lost mount or a refused key may come back.
            if not self._storage.is_local or not self._storage.exists():
                raise
            return f"unreadable: {error.strerror or type(error).__name__}"
