"""Trains the networks of the jobs `digits` and `lenet5_cifar10`: seeded, on one thread, a minute or two on a laptop.

    python jobs/train_lenet5.py digits
    python jobs/train_lenet5.py cifar10 --images torchvision:CIFAR10 --root data --part train

It writes `lenet5_digits.safetensors` or `lenet5_cifar10.safetensors` to the folder of this file, where the job looks
for it. polyscan reads the images, so CIFAR-10 may be a class folder, a Parquet file or torchvision's copy.
"""

import argparse
import sys
from pathlib import Path

import lenet5
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from polyscan.images import ImageOptions, ImageSource, Picture, open_images
from polyscan.vision.preprocessing import Preprocessing

HERE = Path(__file__).parent
EPOCHS = {"digits": 30, "cifar10": 20}
CHANNELS = {"digits": 1, "cifar10": 3}


def arrays(source: ImageSource, preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
    """All labelled images of a source as network input and classes."""
    pictures = [entry for entry in source.read(range(len(source))) if isinstance(entry, Picture)]
    labelled = [picture for picture in pictures if picture.label is not None]
    if not labelled:
        sys.exit("the images have no labels; a network can't be trained on them")
    views = np.stack([preprocessing.view(picture.pixels) for picture in labelled])
    inputs = preprocessing.batch(views, torch.device("cpu"))
    return inputs.contiguous(), torch.tensor([picture.label for picture in labelled])


def trained(network: nn.Module, inputs: torch.Tensor, classes: torch.Tensor, *, epochs: int, flip: bool) -> nn.Module:
    """The network after `epochs` epochs of Adam with a one-cycle step size, on shifted (and flipped) images."""
    batch = 64
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=1e-4)
    steps = epochs * -(-len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(batch):
            shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
            images = inputs[rows].roll(shift, dims=(2, 3))
            if flip and torch.rand(1, generator=generator) < 0.5:
                images = images.flip(3)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), classes[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def accuracy(network: nn.Module, inputs: torch.Tensor, classes: torch.Tensor) -> float:
    """Share of images that the network classifies correctly."""
    with torch.inference_mode():
        return float((network(inputs).argmax(dim=1) == classes).float().mean())


def main() -> None:
    """Trains a network, writes its weights and prints the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=sorted(EPOCHS))
    parser.add_argument("--images", help="training images; default for digits: scikit-learn's own")
    parser.add_argument("--root", help="torchvision: the folder that holds the data set")
    parser.add_argument("--part", default="all", help="all, train or test")
    parser.add_argument(
        "--held-out", type=float, default=0.0, help="share of them to measure accuracy on, not to train on"
    )
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    channels = CHANNELS[args.job]
    preprocessing = Preprocessing(32, 32, (0.5,) * channels, (0.5,) * channels)
    if args.job == "digits" and args.images is None:
        parts = [open_images("sklearn:digits", options=ImageOptions(part=part)) for part in ("train", "test")]
        (inputs, classes), (test_inputs, test_classes) = (arrays(part, preprocessing) for part in parts)
    else:
        if args.images is None:
            parser.error("--images is missing: a class folder, a Parquet file, or torchvision:CIFAR10 with --root")
        source = open_images(args.images, options=ImageOptions(root=args.root, part=args.part))
        inputs, classes = arrays(source, preprocessing)
        held_out = torch.rand(len(inputs), generator=torch.Generator().manual_seed(1)) < args.held_out
        test_inputs, test_classes = inputs[held_out], classes[held_out]
        inputs, classes = inputs[~held_out], classes[~held_out]
    network = getattr(lenet5, args.job)()
    network = trained(network, inputs, classes, epochs=args.epochs or EPOCHS[args.job], flip=args.job == "cifar10")
    out = args.out or HERE / f"lenet5_{args.job}.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out)
    held = (
        f", {accuracy(network, test_inputs, test_classes):.1%} on {len(test_inputs)} held out"
        if len(test_inputs)
        else ""
    )
    sys.stdout.write(f"{out}: accuracy {accuracy(network, inputs, classes):.1%} on {len(inputs)} trained on{held}\n")


if __name__ == "__main__":
    main()
