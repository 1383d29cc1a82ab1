"""Installs a peer beside the build, and talks to its process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.places import BUILD, REPOSITORY
from benchmarks.race import Skipped

FOLDER = BUILD / "rivals"
INSTALL_TIMEOUT_S = 300


@dataclass(frozen=True)
class Peer:
    """Who runs in a process of its own.

    Args:
        name: as its users know it.
        side: module of `benchmarks` that answers orders for it.
        packages: what is installed for it, and for it alone. No dependencies are resolved: its torch must be
            polyscan's own, and the rest is what importing it needs beside polyscan's environment.
    """

    name: str
    side: str
    packages: tuple[str, ...] = ()


LUCENT = Peer(
    "torch-lucent",
    "benchmarks.peers.lucent_side",
    (
        "torch-lucent==0.1.8",
        "kornia==0.4.1",
        # It imports IPython to show images.
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
    ),
)
# Its import loads its own tests, which want OpenCV (and pytest, which is in polyscan's development environment).
TORCH_DREAMS = Peer(
    "torch-dreams", "benchmarks.peers.torch_dreams_side", ("torch-dreams==4.0.0", "opencv-python-headless==5.0.0.93")
)
_CRP = (
    "zennit-crp==0.6.0",
    "zennit==0.4.6",
    "matplotlib==3.11.2",
    "contourpy==1.3.3",
    "cycler==0.12.1",
    "fonttools==4.68.0",
    "kiwisolver==1.5.1",
    "pyparsing==3.3.3",
)
ZENNIT_CRP = Peer("zennit-crp", "benchmarks.peers.zennit_crp_side", _CRP)
SEMANTICLENS = Peer(  # its collector's module imports zennit-crp's
    "semanticlens", "benchmarks.peers.semanticlens_side", ("semanticlens==0.2.1", "einops==0.8.2", *_CRP)
)
CLUSTERING = Peer("scikit-learn and FAISS", "benchmarks.peers.clustering_side")
FRESH = Peer("polyscan", "benchmarks.peers.stage_side")
"""polyscan itself, in a process that has done nothing before."""


def installed(peer: Peer) -> Path:
    """The folder with the peer in it, made on first use.

    Raises:
        Skipped: if it can't be installed, as without a network.
    """
    folder = FOLDER / peer.name
    stamp = folder / "installed.txt"
    wanted = "\n".join(peer.packages)
    if not peer.packages or (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        subprocess.run(
            [*pip, "--target", str(folder), *peer.packages],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"pip could not install {peer.name} within {INSTALL_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise Skipped(f"pip could not install {peer.name}: {last}") from error
    stamp.write_text(wanted, encoding="utf-8")
    return folder


class Rival:
    """A peer's process, for the length of a `with`; the same Python and torch as here.

    Raises:
        Skipped: if it ends, with the last it said.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __enter__(self) -> Self:
        path = os.pathsep.join([str(REPOSITORY), str(installed(self.peer))])
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._complaints = (self.folder / "stderr.txt").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", self.peer.side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert self._process.stdin is not None  # a pipe was asked for
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
        self._complaints.close()
        self._folder.cleanup()

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Has one order carried out; what can't be said in a line travels in files of `folder`."""
        try:
            self._orders.write(json.dumps(order) + "\n")
            self._orders.flush()
        except BrokenPipeError:
            pass  # it has ended, and the empty answer says so
        line = self._answers.readline()
        if not line:
            self._complaints.seek(0)
            last = (self._complaints.read().strip().splitlines() or ["no message"])[-1]
            raise Skipped(f"{self.peer.name} ended: {last}")
        return json.loads(line)


@dataclass(frozen=True)
class Rendered:
    """What a peer made of one order: its seconds, and the images [b, y, x, c] as uint8."""

    seconds: float
    images: np.ndarray


class ImageMaker(Rival):
    """A peer that visualizes units."""

    def __call__(
        self,
        call: str,
        layer: str,
        units: Sequence[int],
        *,
        steps: int,
        seed: int,
        frozen: bool = False,
        step_size: float = 0.05,
    ) -> Rendered:
        """Has images made of the units of a layer by the peer's call of that name."""
        file = self.folder / "images.npy"
        order = {"call": call, "layer": layer, "units": list(units), "steps": steps, "seed": seed, "frozen": frozen}
        answer = self.ask(order | {"step_size": step_size, "file": str(file)})
        return Rendered(answer["seconds"], np.load(file))
