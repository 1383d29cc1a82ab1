"""`polyscan units`, and tables in general: nothing is cut, on a terminal or in a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polyscan import cli
from polyscan.cli.console import out
from polyscan.cli.tables import show_table
from polyscan.cli.words import field_words
from polyscan.vision.fields import Axis

LONG = "stages.10.blocks.23." + "depthwise." * 9 + "conv"


class Terminal:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def units(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["polyscan", "units", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_in_a_pipe_each_row_is_a_line_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("depth", "layer"), [("0", LONG), ("1", "[bold]head[/bold]")])
    assert capsys.readouterr().out == f"depth\tlayer\n0\t{LONG}\n1\t[bold]head[/bold]\n"


def test_on_a_terminal_long_names_go_on_in_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(out, "_width", 40)
    show_table(("depth", "layer"), [("0", LONG), ("1", "[bold]head[/bold]")])
    lines = [line for line in terminal.text.splitlines() if line.startswith("│")]
    assert max(map(len, terminal.text.splitlines())) <= 40
    assert "".join(line.strip("│").split("│")[1].strip() for line in lines) == f"{LONG}[bold]head[/bold]"
    assert "…" not in terminal.text


def test_every_layer_of_a_deep_network_is_named_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert units(monkeypatch, "--network", "timm:convnextv2_atto") == 0
    captured = capsys.readouterr()
    head, *rows = (line.split("\t") for line in captured.out.splitlines())
    assert head == ["depth", "layer", "units", "map", "receptive field", "read"]
    assert [row[0] for row in rows] == [str(number) for number in range(41)]
    assert rows[5][1:4] == ["stages.0.blocks.1.mlp.fc1", "160", "56x56"]
    assert captured.err == "41 layers, 12,640 units\n"


def test_prefixes_choose_and_keep_the_depths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--network", "torchvision:resnet18", "--set", "network.input_px=64")
    assert units(monkeypatch, *words, "--prefix", "layer4.1", "--prefix", "fc") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [("18", "layer4.1.conv1"), ("19", "layer4.1.conv2"), ("20", "fc")]
    assert units(monkeypatch, *words, "--prefix", "layr4") == 2
    assert "nearest: layer4, layer4.1, layer4.0" in capsys.readouterr().err


def test_all_lists_what_a_job_leaves_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--network", "torchvision:resnet18", "--set", "network.input_px=64", "--set", "network.layers=pain")
    assert units(monkeypatch, *words) == 2
    assert units(monkeypatch, *words, "--all") == 0
    assert capsys.readouterr().err.endswith("29 layers, 7,720 units\n")


def test_a_reader_that_has_enough_ends_it_without_a_word(tmp_path: Path) -> None:
    code = "from polyscan.cli.tables import show_table; show_table(('a', 'b'), [('1', 'x' * 99)] * 9999)"
    with (tmp_path / "errors").open("w") as errors:
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=errors)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"a\tb\n"
        writer.stdout.close()
        assert writer.wait(timeout=60) == 0
    assert (tmp_path / "errors").read_text() == ""


def test_words_for_fields() -> None:
    assert field_words(None) == "whole image"
    assert field_words((Axis(2, -1, 3), Axis(2, -1, 3))) == "5 px"
    assert field_words((Axis(0.5, -0.5, 1), Axis(1, 0, 6))) == "3x7 px"
