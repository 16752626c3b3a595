"""Train a pruned PyTorch model on, with the model that it was cut from as its teacher. Needs torch, nothing of ours.

    python retrain.py --dense mnist_cnn.pth --pruned tmpqpj73q22.pt --class-def model.py --model-name Net \\
        --data train_loader.pth --test test_loader.pth --epochs 2 -o pruned_trained.pt

The files are those of a user: weights and class file of the dense model, the pruned model as the service gave it, and
DataLoaders that `torch.save` wrote. Only load files that you trust: such files can run code.

The loss is that of knowledge distillation (Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2):

    (1 - weight) * cross entropy(labels, p)  +  weight * T^2 * KL(dense's p at temperature T || p at temperature T)

What the dense model thinks of the *wrong* classes says more of an image than its label does. T=2 flattens its output
until those small probabilities count (at 4 and more, the steps became too long for the rate in our measurements); T^2
keeps the second gradient as large as the first, whatever T is; weight=0.7 lets the teacher lead and the labels correct
it. `--weight 0` is plain retraining.

What it brings, without and with the teacher, in percent of 797 digits after two epochs on 1,000 (three seeds): where
the cut was deep and nothing repaired it, much: 91.8 ± 6.1 and 96.5 ± 0.8 (the Keras document's model, half of its
channels gone), 84.0 ± 8.2 and 89.5 ± 1.5 (70 %), 97.5 ± 1.0 and 98.0 ± 0.7 (a ResNet-14, 70 %). Where little was
lost, nothing: 98.5 ± 0.2 and 98.3 ± 0.3 (the PyTorch document's model, half). A model that came back restored is such
a one: with these few images neither retraining makes it better by more than chance. And a teacher that is bad itself
holds its pupil back.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def main() -> None:
    """Retrain what the arguments name; one line of JSON an epoch tells the accuracy."""
    asked = arguments()
    torch.manual_seed(asked.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dense = opened(asked.dense, asked.class_def, asked.model_name).to(device)
    pruned = opened(asked.pruned, asked.pruned_class_def or asked.class_def, asked.model_name).to(device)
    batches = torch.load(asked.data, weights_only=False)
    test = torch.load(asked.test, weights_only=False) if asked.test else None
    tell(0, pruned, test, device)
    optimizer = torch.optim.SGD(pruned.parameters(), lr=asked.rate, momentum=0.9, nesterov=True)
    # Down to zero along a cosine, step by step: a short training ends where a long one would, with small steps.
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=asked.epochs * len(batches))
    for epoch in range(1, asked.epochs + 1):
        dense.eval()
        pruned.train()  # dropout on, and batch norm takes its statistics from what it sees now
        for x, labels in batches:
            x, labels = x.to(device), labels.to(device)
            with torch.no_grad():
                taught = dense(x)
            optimizer.zero_grad()
            loss = distillation(pruned(x), taught, labels, asked.temperature, asked.weight)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
        tell(epoch, pruned, test, device)
    torch.save(pruned.state_dict(), asked.output)


def distillation(
    found: torch.Tensor, taught: torch.Tensor, labels: torch.Tensor, temperature: float, weight: float
) -> torch.Tensor:
    """The loss above. Logits and log-probabilities are both right: a softmax does not see what they differ by."""
    hard = F.cross_entropy(found, labels)
    soft = F.kl_div(
        F.log_softmax(found / temperature, dim=1),
        F.log_softmax(taught / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - weight) * hard + weight * temperature**2 * soft


def opened(file: Path, class_def: Path, name: str) -> nn.Module:
    """The model of a file: the pair that the service gives, or a state dict for the class of the class file."""
    sys.path.insert(0, str(class_def.resolve().parent))  # where a pickled model looks for its class
    content: Any = torch.load(file, map_location="cpu", weights_only=False)
    if isinstance(content, tuple):
        return cast(nn.Module, content[0])
    model: nn.Module = getattr(importlib.import_module(class_def.stem), name)()
    model.load_state_dict(content)
    return model


@torch.no_grad()
def accuracy(model: nn.Module, batches: Batches, device: torch.device) -> float:
    """Share of the images that are classified as their labels say."""
    model.eval()
    right = [model(x.to(device)).argmax(dim=1).cpu() == labels for x, labels in batches]
    return torch.cat(right).float().mean().item()


def tell(epoch: int, model: nn.Module, test: Batches | None, device: torch.device) -> None:
    """One line; epoch 0 is the model as it came."""
    measured = {} if test is None else {"accuracy": round(accuracy(model, test, device), 4)}
    print(json.dumps({"epoch": epoch, **measured}), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dense", type=Path, required=True, help="state dict of the model before the cut")
    parser.add_argument("--pruned", type=Path, required=True, help="the .pt pair of the service, or a state dict")
    parser.add_argument("--class-def", type=Path, required=True, help="file that defines the class")
    parser.add_argument("--pruned-class-def", type=Path, help="of the smaller class, where PRUNED is a state dict")
    parser.add_argument("--model-name", required=True, help="the class, built without arguments")
    parser.add_argument("--data", type=Path, required=True, help="DataLoader to train on")
    parser.add_argument("--test", type=Path, help="DataLoader to measure on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate to start from (%(default)s)")
    parser.add_argument("--temperature", type=float, default=2.0, help="flattens the teacher's output (%(default)s)")
    parser.add_argument("--weight", type=float, default=0.7, help="of the teacher against the labels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the state dict goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
