"""The source files of the user's own code: imported from the job's folder, again where they changed, and hashed.

Law: the hash depends on the sources alone, never on what else a process has imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polyscan
from polyscan.errors import ModelError

LIBRARIES = ("torchvision", "timm", "open_clip")
"""What stands before the colon in names that are not own code."""
DYNAMIC = (b"import_module", b"__import__", b"spec_from_file_location", b"runpy", b"exec(")
"""Words of a source that may import what its import statements do not show; all files beside it are then hashed."""
INSTALLED = ("site-packages", "dist-packages")
OURS = Path(polyscan.__file__).resolve().parent
_digests: dict[str, str] = {}


def is_own_code(name: str) -> bool:
    """Whether a name of a network or an embedder is that of the user's own code.

    >>> is_own_code("nets:resnet20"), is_own_code("timm:resnet18"), is_own_code("penultimate")
    (True, False, False)
    """
    return ":" in name and name.partition(":")[0] not in LIBRARIES


def own_place(name: str) -> tuple[str, str]:
    """The module or file of a name of own code, and the name in it.

    >>> own_place("nets:build"), own_place("./models/nets.py:build")
    (('nets', 'build'), ('./models/nets.py', 'build'))
    """
    place, _, attribute = name.rpartition(":")
    return place, attribute


def own_module(place: str, folder: str) -> ModuleType:
    """Imports a module of the user's, and imports it again if its sources changed since.

    Args:
        place: a module's name, or a path to its file.
        folder: where it is looked for first; "" for the Python path alone.

    Raises:
        ModelError: if there is no file at the path, or the module has the name of one of Python's or an installed one.
        Exception: whatever the module raises.
    """
    module, root, entry = _located(place, folder)
    if root is not None:
        sys.path[:] = [str(root), *(path for path in sys.path if path != str(root))]
    if entry is not None and root is not None:
        _refuse_namesake(module, entry)
        _unload_other(module, entry, root)
        importlib.invalidate_caches()
    if entry is not None and entry.stem != module.rpartition(".")[2] and entry.stem != "__init__":
        return _from_file(module, entry)
    return importlib.import_module(module)


def own_code_digest(name: str, folder: str) -> str:
    """Sha256 over the sources of the user's module and of all that it imports from its folder; "" for a library's.

    Args:
        name: as in `nets:resnet20` or `nets.py:resnet20`.
        folder: the job's folder.
    """
    if not is_own_code(name):
        return ""
    module, root, entry = _located(own_place(name)[0], folder)
    if entry is None:
        entry = _loaded_from(module)
        root = entry.parents[module.count(".") + (entry.stem == "__init__")] if entry else None
    return _digest(entry, root) if entry and root else ""


def _loaded_from(module: str) -> Path | None:
    """The source file of a module on the Python path; None if there is none, as for `__main__` of a notebook."""
    if loaded := sys.modules.get(module):
        file = getattr(loaded, "__file__", None)
        return Path(file) if file else None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None


def _digest(entry: Path, root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_sources(entry, root)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _located(place: str, folder: str) -> tuple[str, Path | None, Path | None]:
    """Name of a module, the folder that its imports are relative to, and its file, where these are the user's."""
    if place.endswith(".py") or "/" in place or "\\" in place:
        path = (Path(folder) / Path(place).expanduser()).resolve()
        path = path if path.suffix == ".py" else path.with_name(f"{path.name}.py")
        if not path.is_file():
            raise ModelError(f"no Python file at {path}; write module:function or path/to/file.py:function")
        root = _package_root(path, Path(folder).resolve())
        # A name with dots would be looked for in packages.
        return ".".join((*path.parent.relative_to(root).parts, path.stem.replace(".", "_"))), root, path
    if not folder:
        return place, None, None
    root = Path(folder).resolve()
    return place, root, _file_of(root, place.split("."))


def _package_root(path: Path, folder: Path) -> Path:
    """The folder that holds the outermost package of a file, within the job's folder; its own folder without one."""
    root = path.parent
    while root != folder and (root / "__init__.py").is_file():
        root = root.parent
    return root


def _file_of(root: Path, parts: list[str]) -> Path | None:
    """The file of a dotted name below a folder; None if there is none."""
    if not parts or not all(parts):
        return None
    base = root.joinpath(*parts)
    return next((path for path in (base / "__init__.py", base.with_name(f"{base.name}.py")) if path.is_file()), None)


def _refuse_namesake(module: str, entry: Path) -> None:
    """Refuses a file with the name of a loaded module of Python's or an installed package, which others use."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    file = getattr(loaded, "__file__", None)
    if loaded is not None and (_is_installed(str(file)) or (top in sys.stdlib_module_names and file != str(entry))):
        raise ModelError(f"{entry} has the name of the module `{top}` of Python or of an installed package; rename it")


def _unload_other(module: str, entry: Path, root: Path) -> None:
    """Unloads what was imported under these names from another place, or from sources that have changed since."""
    digest = _digest(entry, root)
    has_changed = _digests.get(str(entry), digest) != digest
    for path in _sources(entry, root):
        name = module if path == entry else _dotted(path, root)
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and not _is_installed(file) and (has_changed or Path(file).resolve() != path.resolve()):
            del sys.modules[name]
        if has_changed:  # Python tells its cached code by size and second, which a quick change may keep
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    _digests[str(entry)] = digest


def _dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_installed(file: str) -> bool:
    return any(part in Path(file).parts for part in INSTALLED)


def _is_foreign(path: Path) -> bool:
    return _is_installed(str(path)) or OURS in path.parents


def _from_file(module: str, entry: Path) -> ModuleType:
    if module in sys.modules:
        return sys.modules[module]
    spec = importlib.util.spec_from_file_location(module, entry)
    if spec is None or spec.loader is None:
        raise ModelError(f"{entry} can't be imported; rename it to a Python file with a plain name")
    code = sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(code)
    except BaseException:
        del sys.modules[module]
        raise
    return code


def _sources(entry: Path, root: Path) -> set[Path]:
    """The file, and all files below the folder that it imports, directly or not."""
    known, pending = set[Path](), [entry]
    while pending:
        path = pending.pop()
        if path not in known:
            known.add(path)
            if not _is_foreign(path):
                pending.extend(_imports(path, root))
    return known


def _imports(path: Path, root: Path) -> Iterator[Path]:
    source = path.read_bytes()
    if any(word in source for word in DYNAMIC):
        yield from (*path.parent.glob("*.py"), *path.parent.glob("*/*.py"))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        for base, parts in _named_in(node, path, root):
            for depth in range(1, len(parts) + 1):
                file = _file_of(base, parts[:depth])
                if file and root in file.parents and not _is_foreign(file):
                    yield file


def _named_in(node: ast.AST, path: Path, root: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folder and the dotted names that an import statement names; names of things in modules are among them."""
    if isinstance(node, ast.Import):
        yield from ((root, alias.name.split(".")) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = path.parents[node.level - 1] if 0 < node.level <= len(path.parents) else root
        module = node.module.split(".") if node.module else []
        if node.level:
            yield above.parent, [above.name]
        yield from ((above, [*module, alias.name]) for alias in node.names)
