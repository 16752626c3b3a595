"""Class files of small models, each with something that may go wrong when it is kept in fewer bits."""

from __future__ import annotations


def written(init: str, forward: str, arguments: str = "x") -> str:
    """A class file with the class `Small`; statements are parted by semicolons."""
    lines = ["import torch", "from torch import nn", "", "class Small(nn.Module):"]
    lines += [
        "    def __init__(self):",
        "        super().__init__()",
        *(f"        {line}" for line in init.split("; ")),
    ]
    lines += [f"    def forward(self, {arguments}):", *(f"        {line}" for line in forward.split("; "))]
    return "\n".join(lines) + "\n"


#: Two dense layers, eight numbers in, three out.
DENSE = written("self.a = nn.Linear(8, 16); self.b = nn.Linear(16, 3)", "return self.b(self.a(x).relu())")
#: An operator that no ONNX file can hold.
FOURIER = written("self.a = nn.Linear(8, 8)", "return torch.fft.rfft(self.a(x)).abs()")
#: Stored numbers, and nothing that multiplies by them as a layer does.
SCALED = written("self.scale = nn.Parameter(torch.rand(8))", "return x * self.scale")
#: Two inputs and named outputs, one of which another layer reads through a ReLU.
NAMED = written(
    "self.a = nn.Linear(8, 4); self.b = nn.Conv1d(2, 4, 3); self.c = nn.Linear(4, 3)",
    "hidden = self.a(x) + self.b(z).mean(2); return {'scores': self.c(hidden.relu()), 'hidden': hidden}",
    "x, z",
)
#: One channel everywhere, and one number out.
SINGLE = written("self.a = nn.Conv2d(1, 1, 1); self.b = nn.Conv2d(1, 1, 8)", "return self.b(self.a(x))")
