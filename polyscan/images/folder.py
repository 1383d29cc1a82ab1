"""Image files in a folder, with one class per sub-folder or without classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polyscan.errors import ImagesError
from polyscan.images.decode import decode
from polyscan.images.listing import printable
from polyscan.images.options import ImageOptions, Selection, list_digest
from polyscan.images.source import Picture, Reject
from polyscan.storage import Storage


class FolderImages:
    """The image files below a folder, at any depth.

    The first folder on a file's path is its class (`cats/indoors/1.jpg` is a `cats`), and classes are numbered by
    their sorted names, as torchvision's ImageFolder does it. A file outside any sub-folder has no label. Every file
    counts, so a file that is not an image becomes a reject.

    Args:
        storage: the folder.
        sizes: its files in order and their bytes, as `listing` gives them.
        options: part, limit and the largest size allowed.

    Raises:
        ImagesError: if there is no file, or an option doesn't fit.
    """

    def __init__(self, storage: Storage, sizes: Mapping[str, int | None], options: ImageOptions) -> None:
        options.check_part("a folder of images", ("all",))
        options.check_unused("a folder of images", "image_column", "label_column", "root")
        if not sizes:
            raise ImagesError(
                f"{storage.address} holds no images: it has no files (hidden ones don't count); allowed is a folder of "
                "image files, of class folders or of Parquet files. Check the address."
            )
        self._storage = storage
        self._names = list(sizes)
        self._sizes = list(sizes.values())
        self._options = options
        self._selection = Selection(len(sizes), options.limit)
        classes = sorted({name.partition("/")[0] for name in sizes if "/" in name})
        self._labels = {name: label for label, name in enumerate(classes)}

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def digest(self) -> str:
        """Hash of the sorted paths and sizes; independent of the folder's own name."""
        header = ["folder", *self._options.reading]
        return list_digest([header, *zip(self._names, self._sizes, strict=True)])

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids, file by file; see `ImageSource.read`."""
        for image in images:
            yield self._entry(int(image))

    def _entry(self, image: int) -> Picture | Reject:
        place = self._selection.place(image)
        name = self._names[place]
        shown = printable(name)
        if self._sizes[place] is None:
            return Reject(image, shown, "not a file: a broken or circular link, or a device")
        content = self._content(name)
        pixels = (
            content if isinstance(content, str) else decode(content, self._options.max_pixels, self._options.decoding)
        )
        if isinstance(pixels, str):
            return Reject(image, shown, pixels)
        class_name = name.partition("/")[0] if "/" in name else ""
        return Picture(image, shown, pixels, self._labels.get(class_name), printable(class_name))

    def _content(self, name: str) -> bytes | str:
        """Bytes of a file, or the reason why this file can't be read."""
        try:
            return self._storage.read(name)
        except (FileNotFoundError, PermissionError) as error:
            # A missing or forbidden file on a disk stays unreadable. A lost mount or a refused key may come back.
            if not self._storage.is_local or not self._storage.exists():
                raise
            return f"unreadable: {error.strerror or type(error).__name__}"
