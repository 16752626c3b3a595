"""Trains the network of model.py on shapes that it draws itself; leaves shapes.pth, its weights, and samples.npz."""

import numpy as np
import torch
from model import Net

SIZE, EPOCHS, BATCH = 16, 6, 64


def pictures(number, seed):
    """Rings, squares, crosses and diagonals of any size, anywhere, under noise; and which of them each is."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    drawn, kinds = np.empty((number, 1, SIZE, SIZE), np.float32), rng.integers(0, 4, number)
    for one, kind in enumerate(kinds):
        radius = rng.uniform(3, 6)
        x, y = across - rng.uniform(6, 9), down - rng.uniform(6, 9)
        far = np.maximum(abs(x), abs(y))
        lines = (abs(np.hypot(x, y) - radius), abs(far - radius), np.minimum(abs(x), abs(y)), abs(abs(x) - abs(y)))
        drawn[one, 0] = (lines[kind] < 1) & (far < radius + 1)
    return drawn + rng.normal(0, 0.3, drawn.shape).astype(np.float32), kinds


def main():
    torch.manual_seed(0)
    x, y = map(torch.from_numpy, pictures(2000, seed=1))
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(1, EPOCHS + 1):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        print(f"epoch {epoch} of {EPOCHS}")
    samples, labels = pictures(512, seed=2)
    with torch.no_grad():
        right = net.eval()(torch.from_numpy(samples)).argmax(1).numpy() == labels
    print(f"accuracy on {len(labels)} new pictures: {right.mean():.1%}")
    torch.save(net.state_dict(), "shapes.pth")
    np.savez("samples.npz", x=samples, y=labels)


if __name__ == "__main__":
    main()
