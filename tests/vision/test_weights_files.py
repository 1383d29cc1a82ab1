"""Checkpoints as people have them: what is taken and told, what is refused, and that no code of theirs runs."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from polyscan.errors import ModelError
from polyscan.job.reading import FILE_ENDINGS
from polyscan.vision.weights_files import is_weights_file, load_weights_file
from polyscan.vision.weights_formats import ENDINGS


def build(classes=3):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


def trained(seed=1, **how):
    """Weights that no network has by itself."""
    generator = torch.Generator().manual_seed(seed)
    state = build(**how).state_dict()
    return {
        key: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value + 5
        for key, value in state.items()
    }


def load(path, *, module=None, **more):
    module = module or build()
    return load_weights_file(module, path, "net:build", **more), module.state_dict()


def same(own, state):
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def prefixed(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


STATE = trained()
FORMS = {
    "plain.pth": (STATE, ""),
    "model.pt": ({"model": STATE, "epoch": 3}, ' "model"'),
    "net.pth": ({"net": STATE, "acc": 91.0}, ' "net"'),
    "msd.pth": ({"model_state_dict": STATE, "optimizer_state_dict": {"state": {0: {"step": torch.ones(1)}}}}, None),
    "ema.pth": ({"ema": STATE}, ' "ema"'),
    "network.pth": ({"network": STATE}, ' "network"'),
    "params.pth": ({"params": STATE}, ' "params"'),
    "unheard_of.pth": ({"what I trained on Friday": STATE}, ' "what I trained on Friday"'),
    "nested.pth": ({"state": {"model": STATE}}, ' "state.model"'),
    "lightning.ckpt": ({"state_dict": prefixed("model.", STATE)}, ' "state_dict" without the prefix "model."'),
    "net_of_lightning.ckpt": ({"state_dict": prefixed("net.", STATE)}, ' "state_dict" without the prefix "net."'),
    "loss.ckpt": (
        {"state_dict": {**prefixed("model.", STATE), "loss.weight": torch.ones(3)}},
        ' "state_dict" without the prefix "model."; left out: loss.weight',
    ),
    "parallel.pth": ({"state_dict": prefixed("module.", STATE)}, ' "state_dict" without the prefix "module."'),
    "compiled.pth": (prefixed("_orig_mod.", STATE), ""),
    "both.pth": (prefixed("module._orig_mod.", STATE), ' without the prefix "module."'),
    "in_parts.pth": ({key.replace("0.", "0._orig_mod."): value for key, value in STATE.items()}, ""),
    "swa.pth": (
        {"n_averaged": torch.tensor(3), **prefixed("module.", STATE)},
        ' without the prefix "module."; left out: n_averaged',
    ),
    "thop.pth": ({**STATE, "total_ops": torch.zeros(1)}, "; left out: total_ops"),
    "old.pth": ({key: value for key, value in STATE.items() if "num_batches" not in key}, ""),
    "best.pth.tar": ({"state_dict": STATE, "best_acc1": torch.tensor(76.1)}, ' "state_dict"'),
    "net.th": (STATE, ""),
    "pytorch_model.bin": (STATE, ""),
    "net.pkl": (STATE, ""),
    "args.pth": ({"model": STATE, "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"))}, ' "model"'),
    "numpy.pth": ({"model": STATE, "best": np.float64(0.9), "n": np.int64(3), "ok": np.bool_(1)}, ' "model"'),
    "parameters.pth": ({key: nn.Parameter(value, False) for key, value in STATE.items()}, ""),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("is_legacy", [False, True])
def test_a_form_is_taken_and_told(name, is_legacy, tmp_path):
    content, says = FORMS[name]
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=not is_legacy)
    taken, own = load(tmp_path / name)
    old = {key: value for key, value in build().state_dict().items() if key not in STATE or name == "old.pth"}
    expected = {**STATE, **{key: value for key, value in old.items() if key.endswith("num_batches_tracked")}}
    assert same(own, expected)
    if says is not None:
        assert taken == f"{name}{says}"


def test_safetensors_with_metadata_under_any_name(tmp_path):
    for name in ("net.safetensors", "net.bin", "no_ending"):
        save_file(prefixed("model.", STATE), tmp_path / name, metadata={"format": "pt"})
        taken, own = load(tmp_path / name)
        assert same(own, STATE)
        assert taken == f'{name} without the prefix "model."'


segments = st.lists(st.sampled_from(["module", "model", "net", "backbone", "a", "encoder_q"]), max_size=3)


@settings(max_examples=40, deadline=None)
@given(place=segments, prefix=segments, beside=st.booleans())
def test_a_single_set_of_weights_is_found_wherever_it_is(place, prefix, beside, tmp_path_factory):
    dotted = "".join(f"{part}." for part in prefix)
    content = prefixed(dotted, STATE)
    if prefix and beside:
        content["criterion.centres"] = torch.ones(2)
    for key in reversed(place):
        content = {key: content, "step": 7, "rng": torch.zeros(5, dtype=torch.uint8)}
    path = tmp_path_factory.getbasetemp() / "anywhere.pth"
    torch.save(content, path)
    taken, own = load(path)
    assert same(own, STATE)
    assert (f'the prefix "{dotted}"' in taken) == bool(prefix)
    assert ("left out: criterion.centres" in taken) == bool(prefix and beside)


def test_several_sets_that_fit_are_named_and_chosen(tmp_path):
    path, other = tmp_path / "both.pth", trained(2)
    torch.save({"state_dict": STATE, "state_dict_ema": other}, path)
    with pytest.raises(ModelError, match=r'several.*"state_dict", "state_dict_ema".*weights_key = "state_dict_ema"'):
        load(path)
    assert same(load(path, key="state_dict")[1], STATE)
    assert same(load(path, key="state_dict_ema")[1], other)
    with pytest.raises(ModelError, match=r'no weights under `network.weights_key` "ema"; .*state_dict_ema'):
        load(path, key="ema")
    torch.save({"state_dict": {**prefixed("encoder_q.", STATE), **prefixed("encoder_k.", other)}}, path)
    with pytest.raises(ModelError, match=r'"state_dict\.encoder_k", "state_dict\.encoder_q"'):
        load(path)
    assert same(load(path, key="state_dict.encoder_q")[1], STATE)
    assert same(load(path, key="encoder_k")[1], other)


def test_of_several_sets_the_one_that_fits_is_taken(tmp_path):
    torch.save({"generator": trained(2, classes=7), "discriminator": STATE}, tmp_path / "gan.pth")
    assert load(tmp_path / "gan.pth")[0] == 'gan.pth "discriminator"'


@pytest.mark.parametrize("prefix", ["target.", "module.ema."])
def test_a_set_with_a_prefix_beside_one_without_has_to_be_chosen(prefix, tmp_path):
    """As BYOL keeps its two networks; without a word, the wrong one of them would be scanned."""
    other = trained(seed=2)
    torch.save({**STATE, **prefixed(prefix, other)}, tmp_path / "two.pth")
    label = prefix.removesuffix(".")
    with pytest.raises(ModelError, match=rf'twice, with the prefix "{prefix}" and without; .*weights_key = "{label}"'):
        load(tmp_path / "two.pth")
    assert same(load(tmp_path / "two.pth", key=label)[1], other)


def test_unlike_weights_for_one_tensor_are_refused(tmp_path):
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    state = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).state_dict()
    torch.save(state, tmp_path / "untied.pth")
    with pytest.raises(ModelError, match=r"other weights for 1\.weight than for 0\.weight, which are one tensor"):
        load(tmp_path / "untied.pth", module=module)


def test_tied_weights_need_to_be_there_once(tmp_path):
    def tied():
        first = nn.Linear(4, 4)
        second = nn.Linear(4, 4)
        second.weight = first.weight
        return nn.Sequential(first, second)

    state = {key: torch.randn(value.shape) for key, value in tied().state_dict().items() if key != "1.weight"}
    save_file(state, tmp_path / "tied.safetensors")
    _, own = load(tmp_path / "tied.safetensors", module=tied())
    assert torch.equal(own["1.weight"], state["0.weight"])


def test_other_architectures_are_refused_with_what_differs(tmp_path):
    def refused(content, pattern, **more):
        torch.save(content, tmp_path / "other.pth")
        module = build()
        before = {key: value.clone() for key, value in module.state_dict().items()}
        with pytest.raises(ModelError, match=pattern):
            load(tmp_path / "other.pth", module=module, **more)
        assert same(module.state_dict(), before)

    refused({**STATE, "head.weight": torch.ones(2)}, r"0 missing \[\], 1 unknown \['head.weight'\], wrong shape \[\]")
    refused({k: v for k, v in STATE.items() if k != "3.bias"}, r"another architecture.*1 missing \['3.bias'\]")
    refused({**STATE, "0.bias": torch.ones(9)}, r"wrong shape|9 classes")
    refused({**STATE, "1.weight": torch.ones(4).int()}, r"not floating-point \['1.weight'\]")
    refused({"model": {"a.b": torch.ones(1)}}, r"other\.pth 'model' holds the weights of another architecture")


def test_another_number_of_classes_proposes_the_option(tmp_path):
    torch.save({"model": trained(classes=17)}, tmp_path / "tuned.pth")
    with pytest.raises(ModelError, match=r"17 classes, not 3: set network\.options = \{n_classes = 17\}"):
        load(tmp_path / "tuned.pth", class_option="n_classes")
    with pytest.raises(ModelError, match=r"let your function take the number of classes, .*\{num_classes = 17\}"):
        load(tmp_path / "tuned.pth")


class Bomb:
    """A pickle that makes a folder when it is opened carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_not_run(tmp_path):
    trace, path = tmp_path / "it_ran", tmp_path / "evil.pth"
    torch.save({**STATE, "bomb": Bomb(trace)}, path)
    with pytest.raises(ModelError, match=r"evil\.pth can't be read as weights: .*(posix|nt)\.mkdir.*no pickled code"):
        load(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # so the file was armed


def test_a_whole_network_is_refused_with_the_way_out(tmp_path):
    for content in (build(), {"model": build()}):
        torch.save(content, tmp_path / "whole.pth")
        with pytest.raises(ModelError, match=r"whole pickled network.*torch\.save\(model\.state_dict\(\), path\)"):
            load(tmp_path / "whole.pth")


def zipped():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    return content.getvalue()


def cut(keep):
    content = io.BytesIO()
    torch.save(STATE, content)
    return content.getvalue()[:keep]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("net.pth", b"", "the file is empty"),
        ("net.safetensors", b"", "the file is empty"),
        ("net.pth", b"<!DOCTYPE html><html>quota exceeded</html>", "web page"),
        ("net.safetensors", b"\n\n<html>", "web page"),
        ("net.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9", "git lfs pull"),
        ("net.pth", b"no weights at all", "text file"),
        ("net.safetensors", b"no weights at all", "no safetensors file"),
        ("net.pth", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("net.pth.tar", b"\x1f\x8b\x08\x00", "gzip"),
        ("net.pth", cut(-300), "cut short"),
        ("net.pth", cut(800), "cut short"),
        ("net.pth", zipped(), "cut short, damaged or no PyTorch file"),
        ("net.pth", b"\x80\x02}q\x00.", "cut short|not a state dict"),
        ("net.safetensors", (10**6).to_bytes(8, "little") + b'{"a":', "cut short"),
        ("net.pth", bytes(range(256)), "no PyTorch file"),
    ],
)
def test_files_that_are_no_weights(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=says) as refused:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_contents_that_are_no_state_dict(tmp_path):
    for content, kind in (([1, 2, 3], "list"), ({"0.weight": 3.0}, "dict"), (torch.ones(3), "Tensor")):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ModelError, match=f"holds a {kind} that is not a state dict"):
            load(tmp_path / "other.pth")


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(ModelError, match=r"no weights file at .*absent\.pth; name an existing"):
        load(tmp_path / "absent.pth")
    for strange in ("x" * 5000 + ".pth", "a\0b.pth"):
        with pytest.raises(ModelError, match="can't be read"):
            load(tmp_path / strange)
    save_file(STATE, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"are a folder; name a file in it: model\.safetensors"):
        load(tmp_path)


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, 3000), bits=st.binary(min_size=1, max_size=16))
def test_a_damaged_file_is_an_error_or_the_weights(start, bits, tmp_path_factory):
    content = bytearray(cut(10**6))
    content[start : start + len(bits)] = bits
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        load(path)


def test_names_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_ending").write_bytes(b"x")
    assert all(map(is_weights_file, ["a.pth", "best.PTH.tar", "x/y", "no_ending", "last.ckpt"]))
    assert not any(map(is_weights_file, ["x" * 5000, "a\0b", "", "DEFAULT", "IMAGENET1K_V1", "random", "a1_in1k"]))
    assert FILE_ENDINGS[: len(ENDINGS)] == ENDINGS  # a job's paths are known without torch
