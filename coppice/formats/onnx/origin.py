"""Where a node comes from: its operator set, and the line of the user's code that an exporter of torch noted with it.

>>> origin(NodeProto(doc_string="/home/me/net.py(12): forward\\n/lib/torch/nn/modules/module.py(1): _call"), 17)
'opset 17, net.py, line 12, in forward'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from onnx import NodeProto

#: Where `torch.onnx.export` keeps the stack of Python, outermost call first, as tracebacks are written.
_STACK: Final = "pkg.torch.onnx.stack_trace"
_FRAME: Final = re.compile(r'File "([^"\n]+)", line (\d+), in (\S+)(?:\n +([^\n]*))?')

#: As `verbose=True` of its older kind writes it into `doc_string`, innermost call first.
_NOTED: Final = re.compile(r"^(.+)\((\d+)\): (\S+)$", re.MULTILINE)

#: No stack of a real model is longer, and a line of code that is shown should fit one.
_MOST, _LINE = 20_000, 160


def origin(node: NodeProto, version: int) -> str:
    """The operator set, and file, line, function and text of the innermost line outside of torch, in words."""
    lines = [*_frames(node)]
    return f"opset {version}" + (f", {lines[0]}" if lines else "")


def _frames(node: NodeProto) -> Iterator[str]:
    """The user's lines in words, innermost first."""
    stack = next((entry.value for entry in node.metadata_props if entry.key == _STACK), "")[:_MOST]
    for file, line, function, text in reversed(_FRAME.findall(stack)):
        yield from _line(file, line, function, text)
    for file, line, function in _NOTED.findall(node.doc_string[:_MOST]):
        yield from _line(file, line, function, "")


def _line(file: str, number: str, function: str, text: str) -> Iterator[str]:
    *folders, name = re.split(r"[/\\\\]", file)
    if "torch" not in folders:
        said = f"{name}, line {number}, in {function}" + (f": {text.strip()}" if text.strip() else "")
        yield "".join(character if character.isprintable() else "?" for character in said[:_LINE])
