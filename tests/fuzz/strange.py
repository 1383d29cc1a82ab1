"""Names made to hurt, and a network whose layers bear them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NAMES = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "</title></script><svg onload=alert(3)>",
    "{{ 7 * 7 }}{% raw %}",
    "../../outside",
    "C:\\con<>|?*",
    "line\nbreak\ttab\r",
    "nul\0bell\x07\x1b[31m",
    "\u202etxt.exe\u2066",
    "Größe Straße",
    "第一层 🐈",
    "javascript:alert(4)",
    "=HYPERLINK(1)",
    "x" * 10_000,
    " ",
)
# No dot stands in a module's name, and no slash in a file's.
LAYERS = tuple(name.replace(".", "·") for name in NAMES)
FILES = tuple(name.replace("/", "∕").replace("\0", "").lstrip(".")[:60] for name in NAMES)  # else it is hidden


class Strange(nn.Module):
    """A small layer for each name, all of them side by side."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name in LAYERS:
            self.add_module(name, nn.Conv2d(3, 4, 1))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = [torch.relu(getattr(self, name)(x)) for name in LAYERS]
        return self.head(torch.stack(maps).sum(dim=0).mean(dim=(2, 3)))


def network() -> Strange:
    """What `fuzz.strange:network` builds."""
    return Strange()
