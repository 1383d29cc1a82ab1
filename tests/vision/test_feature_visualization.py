"""Feature visualization: units rise, and what a unit gets depends on its own seeds alone."""

from __future__ import annotations

import itertools
import math
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from polyscan.shards import seed
from polyscan.vision.feature_visualization import (
    Ascent,
    AscentSettings,
    Elbow,
    ElbowSettings,
    ascent_to,
    canvas_size,
    numbers_of,
    visualize,
)
from polyscan.vision.feature_visualization.spectrum import SpectrumShape
from polyscan.vision.perceptual import load_distance
from polyscan.vision.readouts import Reader

CPU = torch.device("cpu")


def toy(channels=3):
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(12, 16, 3, stride=2, padding=1),
        nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    for part in module:
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


@pytest.fixture
def reader(network_of):
    return Reader(network_of(toy(), side=48), "all")


def ascent_of(reader, layer, *, numbers=torch.float32, **settings):
    point = next(point for point in reader.points if point.layer == layer)
    chosen = AscentSettings(**({"steps": 24, "batch": 4} | settings))
    size = canvas_size(point, reader.network.preprocessing, chosen)
    own_maps = reader.own_maps(point, numbers)
    return Ascent(reader.trunk(point), own_maps, reader.network.preprocessing, size, chosen, device=CPU)


def seed_of(channel, index, tries):
    return seed(0, f"start image {tries}", "toy", channel, index)


@pytest.mark.parametrize("numbers", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("jitter_px", [0, 4])
@pytest.mark.parametrize(("layer", "factor"), [("0", 10), ("3", 10), ("5", 10), ("9", 3)])
def test_units_rise(reader, layer, factor, jitter_px, numbers):
    ascent = ascent_of(reader, layer, steps=64, jitter_px=jitter_px, numbers=numbers)
    channels, seeds = [1, 2, 3, 4], [11, 12, 13, 14]  # logit 0 has negative weights: grey is its best
    before, images = ascent.peaks(ascent.starts(seeds), channels), ascent(channels, seeds)
    after = ascent.peaks(images, channels)
    assert images.shape == (4, *ascent.shape.size, 3)
    assert images.dtype == np.uint8
    # Random weights want fine grain, which jitter blurs; trained ones do less.
    assert (after > before + (factor if jitter_px == 0 else 2) * np.abs(before)).all(), (before, after)


def test_units_rise_through_turned_and_scaled_views(reader):
    found = {}
    for degrees in (0.0, 15.0):
        ascent = ascent_of(reader, "5", steps=64, rotate_degrees=degrees, scale=degrees / 100)
        images = ascent([1, 2, 3, 4], [11, 12, 13, 14])
        before = ascent.peaks(ascent.starts([11, 12, 13, 14]), [1, 2, 3, 4])
        assert (ascent.peaks(images, [1, 2, 3, 4]) > before + np.abs(before)).all()
        found[degrees] = images
    assert not np.array_equal(found[0.0], found[15.0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch.compile reads what it warns of
def test_compiled_passes_climb_to_the_same_images(reader, tmp_path, monkeypatch):
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler: torch.compile has nothing to compile with")
    # torch's own cache may hold code for another instruction set (ATEN_CPU_CAPABILITY is no part of its key), and that
    # ends the process.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    point = next(point for point in reader.points if point.layer == "3")
    settings = AscentSettings(steps=8, batch=4)
    plain, compiled = (
        ascent_to(reader, point, settings, "float32", compiled=compiled)([1, 2, 3, 4], [11, 12, 13, 14])
        for compiled in (False, True)
    )
    assert np.abs(plain.astype(int) - compiled).max() <= 2  # of 255: the same up to the order of sums


@pytest.mark.parametrize("numbers", [torch.float32, torch.bfloat16])
def test_the_reported_peak_is_that_of_the_stored_pixels(reader, numbers):
    ascent = ascent_of(reader, "3", numbers=numbers)
    images = ascent([5, 1, 5, 0], [1, 2, 3, 4])
    stored = (torch.from_numpy(images).float().permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    with torch.inference_mode():
        maps = reader.network.module[:4](stored)
    expected = [float(maps[row, channel].max()) for row, channel in enumerate([5, 1, 5, 0])]
    np.testing.assert_allclose(ascent.peaks(images, [5, 1, 5, 0]), expected, rtol=1e-5)


def test_centre_and_channel_are_different_questions(reader, noise):
    images = noise(2, 3, 24, 24).sigmoid()
    units = torch.tensor([3, 7])
    ascents = {name: ascent_of(reader, "3", objective=name, canvas_px=24) for name in ("centre", "channel")}
    with torch.no_grad():
        maps = reader.network.module[:4]((images - 0.5) / 0.5)
        centre, channel = (ascents[name].objective(images, units) for name in ("centre", "channel"))
    torch.testing.assert_close(centre, maps[[0, 1], units, 6, 6])
    torch.testing.assert_close(channel, maps[[0, 1], units].mean(dim=(1, 2)))
    made = {name: ascent([3] * 4, [1] * 4) for name, ascent in ascents.items()}
    with torch.no_grad():
        means = {name: reader.network.module[:4](torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)[0, 3].mean()
                 for name, images in made.items()}  # fmt: skip
    assert means["channel"] > means["centre"]  # texture fills the picture, one object does not


@pytest.mark.parametrize("numbers", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("views", [{"jitter_px": 0}, {"jitter_px": 4}, {"rotate_degrees": 10.0, "scale": 0.1}])
@pytest.mark.parametrize("batch", [1, 4, 5])
def test_neighbours_change_nothing_bit_by_bit(reader, views, batch, numbers):
    ascent = ascent_of(reader, "5", batch=batch, numbers=numbers, **views)
    alone = ascent([7] * batch, [99] * batch)
    peak = ascent.peaks(alone, [7] * batch)
    assert all(np.array_equal(image, alone[0]) for image in alone)
    assert len(set(peak.tolist())) == 1
    for place in range(batch):
        channels, seeds = [(3 * row + 1) % 16 for row in range(batch)], list(range(batch))
        channels[place], seeds[place] = 7, 99
        among = ascent(channels, seeds)
        assert np.array_equal(among[place], alone[0])
        assert ascent.peaks(among, channels)[place] == peak[0]


def test_the_short_numbers_leave_the_network_as_it_is_and_climb_as_high(reader):
    before = {name: value.clone() for name, value in reader.network.module.state_dict().items()}
    channels, reached = list(range(16)), {}
    for numbers in (torch.float32, torch.bfloat16):
        ascent = ascent_of(reader, "5", steps=64, batch=16, jitter_px=0, numbers=numbers)
        starts = [[1000 * draw + channel for channel in channels] for draw in range(4)]
        reached[numbers] = np.concatenate([ascent.peaks(ascent(channels, seeds), channels) for seeds in starts])
    assert all(torch.equal(value, before[name]) for name, value in reader.network.module.state_dict().items())
    # A single ascent may end on another hill, up to a fifth lower or higher, and which one does differs between CPUs.
    # The mean of 64 strays by 0.3 % (standard deviation; at most 0.6 % in 20 such means, on AVX2 as on AVX-512), while
    # an ascent of 60 steps in place of 64 ends 2.5 % lower.
    assert reached[torch.bfloat16].mean() == pytest.approx(reached[torch.float32].mean(), rel=0.02)
    assert not np.array_equal(reached[torch.bfloat16], reached[torch.float32])


@pytest.mark.parametrize(("faster", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_what_the_device_multiplies_faster(monkeypatch, faster, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: faster)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert numbers_of("auto", CPU) == expected
    assert numbers_of("float32", CPU) == torch.float32
    assert numbers_of("bfloat16", CPU) == torch.bfloat16


def test_seeds_matter(reader):
    images = ascent_of(reader, "3")([2, 2, 2, 2], [1, 2, 3, 3])
    assert np.array_equal(images[2], images[3])
    assert (images[0] != images[1]).mean() > 0.5
    assert (images[1] != images[2]).mean() > 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_starts_are_grey_and_each_seeds_own(channels):
    shape = SpectrumShape((20, 20), channels, CPU)
    first, second = shape.start([5, 6]), shape.start([6, 5])
    assert torch.equal(first, second.flip(0))
    images = shape.images(first)
    assert images.shape == (2, channels, 20, 20)
    assert (images - 0.5).abs().max() < 0.2
    assert images[0].std() > 0


@pytest.mark.parametrize("size", [(16, 16), (21, 21), (16, 29)])
def test_jitter_moves_the_image_and_nothing_else(size):
    shape = SpectrumShape(size, 3, CPU)
    spectra = shape.start([1, 2, 3]) * 30
    still = shape.images(spectra)
    moved = shape.images(spectra, torch.tensor([[3.0, 0.0], [0.0, -2.0], [5.0, 7.0]]))
    for row, shift in enumerate([(3, 0), (0, -2), (5, 7)]):
        torch.testing.assert_close(moved[row], still[row].roll(shift, dims=(1, 2)), rtol=1e-3, atol=1e-4)


def test_one_channel_and_a_batch_of_one(network_of):
    reader = Reader(network_of(toy(1), side=32, channels=1), "3")
    ascent = ascent_of(reader, "3", batch=1)
    images = ascent([4], [0])
    assert images.shape[0] == 1
    assert images.shape[3] == 1
    assert ascent.peaks(images, [4])[0] > ascent.peaks(ascent.starts([0]), [4])[0]


@pytest.mark.parametrize("jitter_px", [0, 4])
def test_the_canvas_covers_the_field_of_the_middle(network_of, jitter_px):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 5), nn.Conv2d(4, 4, 3, dilation=2, padding=2),
    )  # fmt: skip
    reader = Reader(network_of(module, side=224), "all")
    settings = AscentSettings(jitter_px=jitter_px)
    sizes = [canvas_size(point, reader.network.preprocessing, settings) for point in reader.points]
    assert all(height == width for height, width in sizes)
    sides = [height for height, _ in sizes]
    assert sides == sorted(sides)
    assert sides[0] >= 16
    assert sides[-1] < 224
    for point, side in zip(reader.points, sides, strict=True):
        maps = reader.trunk(point)(torch.zeros(1, 3, side, side))
        for axis, positions in zip(point.field, maps.shape[2:], strict=True):
            middle = (positions // 2) * axis.stride
            assert 0 <= middle + axis.low <= middle + axis.high < side, (point.layer, side)


class Halves(nn.Module):
    """A small U-Net, which takes inputs whose side is a multiple of four."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 4, 2, stride=2))

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.cat([x, self.deep(x)], dim=1))


def test_the_canvas_behind_upsampling_is_the_input(network_of):
    reader = Reader(network_of(Halves(), side=64), "all")
    sizes = {p.layer: canvas_size(p, reader.network.preprocessing, AscentSettings(jitter_px=0)) for p in reader.points}
    assert sizes == {"first": (16, 16), "deep.0": (16, 16), "deep.1": (64, 64), "last": (64, 64)}
    for point in reader.points:
        reader.trunk(point)(torch.zeros(1, 3, *sizes[point.layer]))


def test_the_canvas_of_what_sees_all_is_the_input(reader):
    preprocessing = reader.network.preprocessing
    sides = {p.layer: canvas_size(p, preprocessing, AscentSettings(jitter_px=0)) for p in reader.points}
    assert sides == {"0": (16, 16), "3": (16, 16), "5": (20, 20), "9": (48, 48)}
    assert canvas_size(reader.points[1], preprocessing, AscentSettings(canvas_px=33)) == (33, 33)
    # Never above the input's.
    assert canvas_size(reader.points[2], preprocessing, AscentSettings(jitter_px=100)) == (48, 48)


# ---- the elbow ------------------------------------------------------------------------------------------------------


def on_a_curve(curve, settings):
    """The elbow fed with means as they stand, and what the rule says, word by word."""
    elbow = Elbow(settings)
    feed = iter(curve)
    elbow._pairs.add = lambda _: next(feed)
    for _ in curve:
        elbow.add(torch.zeros(1))
    for n in range(1, len(curve) + 1):
        changes = [abs(curve[i - 1] - curve[i - 2]) for i in range(3, n + 1)]  # |m_I - m_(I-1)| for I = 3..n
        calm = changes[-settings.patience :]
        if n >= settings.min_images and len(calm) == settings.patience and max(calm) < settings.threshold:
            return elbow, n, "elbow"
        if n >= settings.max_images:
            return elbow, n, "max_images"
    return elbow, len(curve), ""


PUBLISHED = ElbowSettings(patience=1, min_images=3)
CURVES = {
    "calm at once": [math.nan, 0.5, 0.501, 0.502, 0.503, 0.504, 0.505],
    "settles slowly": [math.nan, 0.9, 0.7, 0.6, 0.55, 0.53, 0.52, 0.515, 0.513, 0.512],
    "luck at three": [math.nan, 0.5, 0.51, 0.7, 0.4, 0.6, 0.5, 0.51, 0.515, 0.516],
    "calm broken once": [math.nan, 0.5, 0.6, 0.7, 0.71, 0.8, 0.81, 0.9, 0.91, 0.915, 0.916],
    "never": [math.nan, *(0.5 + 0.1 * (i % 2) for i in range(40))],
    "exactly the threshold": [math.nan, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75],
}


@pytest.mark.parametrize(
    "settings", [PUBLISHED, ElbowSettings(), ElbowSettings(threshold=0.25, min_images=3, max_images=5)]
)
@pytest.mark.parametrize("name", CURVES)
def test_the_elbow_is_its_rule(name, settings):
    elbow, n, stop = on_a_curve(CURVES[name], settings)
    assert (elbow.n_counted, elbow.stop) == (n, stop)
    assert elbow.means[1:] == CURVES[name][1:n]


def test_published_and_default_stops():
    def stops(settings):
        return [on_a_curve(curve, settings)[0].n_counted for curve in CURVES.values()]

    assert stops(PUBLISHED) == [3, 7, 3, 5, 32, 7]
    assert stops(ElbowSettings()) == [6, 8, 9, 10, 32, 7]


def test_the_settings_defaults_are_the_methods():
    assert ElbowSettings() == ElbowSettings(threshold=0.02, patience=2, min_images=6, max_images=32)


# ---- all together ---------------------------------------------------------------------------------------------------


def as_rows(found):
    return [(v.channel, v.index, v.pixels.tobytes(), v.activation, repr(v.mean_distance), v.n_counted, v.stop)
            for v in found]  # fmt: skip


@pytest.fixture
def run(reader):
    """Visualizes channels of layer `5`, whose units stop at different numbers of images."""
    distance = load_distance("features", network=reader.network, device=CPU)
    ascent = ascent_of(reader, "5", steps=8, batch=5)
    elbow = ElbowSettings(threshold=0.03, patience=1, min_images=3, max_images=7)
    return lambda channels: visualize(ascent, distance, channels, elbow=elbow, seed=seed_of)


def test_a_units_images_are_its_own_whatever_the_order_and_the_shard(run):
    together = as_rows(run([0, 3, 7, 9, 12, 15]))
    assert [row[:2] for row in together] == sorted(row[:2] for row in together)
    assert as_rows(run([15, 9, 12, 0, 7, 3])) == together
    assert as_rows(run([0, 3])) + as_rows(run([7])) + as_rows(run([9, 12, 15])) == together


def test_a_units_images_end_at_its_elbow(run):
    found = run([0, 3, 7, 9, 12, 15])
    by_channel = {channel: [v for v in found if v.channel == channel] for channel in {v.channel for v in found}}
    assert len(by_channel) == 6
    for own in by_channel.values():
        assert [v.index for v in own] == list(range(own[0].n_counted))
        assert 3 <= own[0].n_counted <= 7
        assert len({v.stop for v in own}) == 1
        assert math.isnan(own[0].mean_distance)
        assert own[1].mean_distance > 0
        calm = [abs(b.mean_distance - a.mean_distance) < 0.03 for a, b in itertools.pairwise(own)]
        assert not any(calm[:-1])
        assert calm[-1] if own[0].stop == "elbow" else own[0].n_counted == 7
    assert len({own[0].n_counted for own in by_channel.values()}) > 1  # or the rule was not put to the test


def test_max_images(reader):
    distance = load_distance("features", network=reader.network, device=CPU)
    ascent = ascent_of(reader, "0", steps=2, batch=3)
    never = ElbowSettings(threshold=1e-12, patience=1, min_images=3, max_images=4)
    found = visualize(ascent, distance, [1, 2], elbow=never, seed=seed_of)
    assert [(v.channel, v.index, v.stop) for v in found] == [(c, i, "max_images") for c in (1, 2) for i in range(4)]


class Stub:
    """An ascent whose pictures rise or not as a table says, by channel and seed."""

    def __init__(self, rises, batch):
        self.settings, self.device, self.rises, self.asked = AscentSettings(batch=batch), CPU, rises, []

    def __call__(self, channels, seeds):
        self.asked += list(zip(channels, seeds, strict=True))
        return np.array([np.full((4, 4, 3), s % 256, dtype=np.uint8) for s in seeds])

    def features(self, _, images):
        return torch.from_numpy(images).float().flatten(1)

    def starts(self, seeds):
        return np.zeros((len(seeds), 4, 4, 3), dtype=np.uint8)

    def peaks(self, images, channels):
        seeds = images[:, 0, 0, 0]
        return np.array([float(s > 0 and (c, int(s)) in self.rises) for c, s in zip(channels, seeds, strict=True)])


def stubbed(rises, channels, batch, max_images=3):
    """Seeds are 10 index + try + 1; pictures differ, so no elbow is reached before `max_images`."""
    ascent = Stub(rises, batch)
    elbow = ElbowSettings(threshold=1e-9, patience=1, min_images=3, max_images=max_images)
    found = visualize(ascent, None, channels, elbow=elbow, seed=lambda c, index, tries: 10 * index + tries + 1)
    return [(v.channel, v.index, int(v.pixels[0, 0, 0]), v.n_counted, v.stop) for v in found], ascent


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 20])
def test_a_start_that_leads_nowhere_is_tried_again_from_another_seed_and_then_named(batch):
    rises = {(1, 1), (1, 11), (1, 21)}  # at once
    rises |= {(2, 3), (2, 12), (2, 21)}  # the first at its third try, the second at its second
    rises |= {(3, 1)}  # one, and no more
    found, ascent = stubbed(rises, [1, 2, 3, 4], batch)
    expected = [(1, 0, 1, 3, "max_images"), (1, 1, 11, 3, "max_images"), (1, 2, 21, 3, "max_images")]
    expected += [(2, 0, 3, 3, "max_images"), (2, 1, 12, 3, "max_images"), (2, 2, 21, 3, "max_images")]
    expected += [(3, 0, 1, 1, "stalled"), (4, 0, 3, 0, "dead")]
    assert found == expected
    assert len(ascent.asked) % batch == 0, "batches are always full"


def test_a_unit_behind_a_dead_layer_is_dead(network_of):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    nn.init.zeros_(module[0].weight)
    nn.init.constant_(module[0].bias, -1.0)
    reader = Reader(network_of(module, side=24), "all")
    distance = load_distance("features", network=reader.network, device=CPU)
    (picture,) = visualize(ascent_of(reader, "2", steps=3), distance, [1], elbow=ElbowSettings(), seed=seed_of)
    assert (picture.stop, picture.n_counted, picture.index) == ("dead", 0, 0)
    assert np.isnan(picture.mean_distance)
