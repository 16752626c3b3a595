"""The keys of a state dict and the names of a model's tensors: which is which, past what wrappers put in between.

Plain texts in, a table out; no tensor is looked at here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass

from coppice.errors import StateDictMismatch
from coppice.formats.pytorch.weights import AVERAGE, FIELD

#: Parts of a key that wrappers put there: DataParallel, torch.compile, FSDP, activation checkpointing.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
#: Attributes under which a training loop keeps its model, in the order in which they are preferred.
HOLDERS = ("", "model.", "net.", "network.", "_model.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Keys of a file by what they are to a model."""

    #: Key of the file -> name in the model, for all that lies where the model lies.
    names: dict[str, str]
    #: What stands before every name, as it came; empty for most files.
    prefix: str = ""
    #: Keys that lie elsewhere: other parts of what was trained.
    others: tuple[str, ...] = ()
    #: Averaged copies in the same state dict: what stands before their names -> key of the file -> name in the model.
    copies: dict[str, dict[str, str]]
    #: How many of the model's tensors were found.
    found: int
    #: The parts that were passed over wherever they stand, and what else stands before the names.
    dropped: frozenset[str]
    under: str

    def module(self, path: str) -> str | None:
        """The model's own path of a module that the file names; None for one outside of the model."""
        bare = "".join(f"{part}." for part in path.split(".") if part and part not in self.dropped)
        return bare.removeprefix(self.under).removesuffix(".") if bare.startswith(self.under) else None


def match(keys: Collection[str], own: Set[str], *, file: str) -> Keys:
    """Find the model in the keys of a file; raises StateDictMismatch when it is there several times."""
    segments = {segment for name in own for segment in name.split(".")}
    dropped = WRAPPERS - segments
    bare = {key: ".".join(part for part in key.split(".") if part not in dropped) for key in keys}
    found = _prefixes(bare.values(), own)
    most = max(found.values(), default=0)
    # Fewer than half of the names is a coincidence: all is compared as it stands.
    whole = [prefix for prefix, count in found.items() if count == most] if most * 2 >= len(own) else [""]
    prefix = _preferred(whole, file)
    names = {key: name.removeprefix(prefix) for key, name in bare.items() if name.startswith(prefix)}
    before = _written_before(names, own)
    names = {key: name for key, name in names.items() if key.startswith(before)}
    _refuse_doubles(names, file)
    averages = [other for other in whole if other != prefix and AVERAGE.search(other)]
    copies = {
        other: {key: name.removeprefix(other) for key, name in bare.items() if name.startswith(other)}
        for other in averages
    }
    copied = {key for copy in copies.values() for key in copy}
    return Keys(
        names=names,
        prefix=before,
        others=tuple(key for key in keys if key not in names and key not in copied),
        copies=copies,
        found=len(own & frozenset(names.values())),
        dropped=dropped,
        under=prefix,
    )


def _refuse_doubles(names: dict[str, str], file: str) -> None:
    first: dict[str, str] = {}
    for key, name in names.items():
        if first.setdefault(name, key) != key:
            raise StateDictMismatch(
                f"{file} holds {name} twice, as {first[name]!r} and as {key!r}. Save the state dict of one model.",
                field=FIELD,
            )


def _prefixes(names: Iterable[str], own: Collection[str]) -> Counter[str]:
    """What stands before names of the model, and before how many of them."""
    found: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for count in range(len(parts)):
            if ".".join(parts[count:]) in own:
                found["".join(f"{part}." for part in parts[:count])] += 1
    return found


def _preferred(prefixes: list[str], file: str) -> str:
    """The prefix that is the model's rather than a copy's."""

    def rank(prefix: str) -> tuple[bool, int]:
        return bool(AVERAGE.search(prefix)), HOLDERS.index(prefix) if prefix in HOLDERS else len(HOLDERS)

    ordered = sorted(prefixes, key=rank)
    if len(ordered) > 1 and rank(ordered[0]) == rank(ordered[1]):
        first, second = ordered[:2]
        raise StateDictMismatch(
            f"{file} holds the model more than once: under {first!r} and under {second!r}. Save the one that is"
            f" meant: torch.save({{key.removeprefix({first!r}): value for key, value in state.items() if"
            f" key.startswith({first!r})}}, FILE).",
            field=FIELD,
        )
    return ordered[0]


def _written_before(names: dict[str, str], own: Collection[str]) -> str:
    """What stands in the file before every name of the model, when that is one and the same."""
    before = {key.removesuffix(name) for key, name in names.items() if name in own and key.endswith(name)}
    return before.pop() if len(before) == 1 else ""
