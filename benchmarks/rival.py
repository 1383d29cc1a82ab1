"""Installs the peer beside the build, and talks to its process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.inputs import BUILD, REPOSITORY
from benchmarks.race import Skipped

FOLDER = BUILD / "rivals"
# No dependencies are resolved: kornia's and lucent's torch must be polyscan's own, and the rest is what importing
# lucent needs beside polyscan's environment (it imports IPython to show images).
PACKAGES = (
    "torch-lucent==0.1.8",
    "kornia==0.4.1",
    "decorator==5.3.1",
    "ipython==9.18.1",
    "ipython-pygments-lexers==1.1.1",
    "asttokens==3.0.2",
    "executing==2.3.0",
    "jedi==0.20.1",
    "matplotlib-inline==0.2.2",
    "parso==0.8.7",
    "pexpect==4.9.0",
    "prompt-toolkit==3.0.53",
    "psutil==7.2.2",
    "ptyprocess==0.7.0",
    "pure-eval==0.2.4",
    "stack-data==0.6.3",
    "traitlets==5.16.1",
    "wcwidth==0.9.4",
)
INSTALL_TIMEOUT_S = 300


def installed() -> Path:
    """The folder with the peer in it, made on first use.

    Raises:
        Skipped: if it can't be installed, as without a network.
    """
    stamp = FOLDER / "installed.txt"
    wanted = "\n".join(PACKAGES)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return FOLDER
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        subprocess.run(
            [*pip, "--target", str(FOLDER), *PACKAGES],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"pip could not install torch-lucent within {INSTALL_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise Skipped(f"pip could not install torch-lucent: {last}") from error
    stamp.write_text(wanted, encoding="utf-8")
    return FOLDER


@dataclass(frozen=True)
class Rendered:
    """What the peer made of one order: its seconds, and the images [b, y, x, c] as uint8."""

    seconds: float
    images: np.ndarray


class Lucent:
    """The peer's process, for the length of a `with`; the same Python and torch as here.

    Raises:
        Skipped: if it ends, with the last it said.
    """

    def __enter__(self) -> Lucent:
        self._folder = tempfile.TemporaryDirectory()
        self._complaints = Path(self._folder.name, "stderr.txt").open("w+", encoding="utf-8")
        path = os.pathsep.join([str(REPOSITORY), str(installed())])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.lucent_side"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": path},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._complaints.close()
        self._folder.cleanup()

    def __call__(
        self, call: str, layer: str, units: Sequence[int], *, steps: int, seed: int, frozen: bool = False
    ) -> Rendered:
        """Has images made of the units of a layer by the peer's `batched` or `documented` call."""
        file = Path(self._folder.name, "images.npy")
        order = {"call": call, "layer": layer, "units": list(units), "steps": steps, "seed": seed, "frozen": frozen}
        try:
            self._process.stdin.write(json.dumps(order | {"file": str(file)}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and the empty answer says so
        line = self._process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            last = (self._complaints.read().strip().splitlines() or ["no message"])[-1]
            raise Skipped(f"torch-lucent ended: {last}")
        return Rendered(json.loads(line)["seconds"], np.load(file))
