"""The committed page: sums by family and engine, then every model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

OURS, THEIRS = "coppice", "torch-pruning"
#: Outcomes in the order of the columns, and what each means.
OUTCOMES = {
    "exact": "equal to the masked original, to rounding",
    "statistics": "equal to it once the statistics over channels (layer norm) are held equal in both",
    "nothing": "nothing was cut",
    "refused": "refused, with the reason",
    "wrong": "other numbers than the masked original's, or no slice of it",
    "crashed": "an exception, in the engine or in the cut model",
    "limit": "over the limit of time or memory",
}
_VERIFIED = ("exact", "statistics")


def page(rows: Sequence[Row], names: Collection[str]) -> str:
    """The whole of bench/zoo.md; `names` are those of all models of the zoo."""
    by_engine = {engine: [row for row in rows if row["engine"] == engine] for engine in (OURS, THEIRS)}
    both = {row["name"] for row in by_engine[OURS]} & {row["name"] for row in by_engine[THEIRS]}
    parts = [
        "# The zoo\n",
        (
            "Made by `bench/zoo.py`, which says how; half of every group, outputs kept, random weights, one thread. "
            f"{len(by_engine[OURS])} models through Coppice, {len(both)} of them through Torch-Pruning 1.6.1, too. "
            "*Channels* is the share of half of all inner layers' output channels; *parameters* and *MACs* "
            "are what is left. Coppice's seconds include its verification, Torch-Pruning's hold none.\n"
        ),
        "\n".join(f"- **{name}**: {meaning}" for name, meaning in OUTCOMES.items()) + "\n",
        _not_run(names, {row["name"] for row in by_engine[OURS]}, both),
    ]
    for title, chosen in (
        (
            "Both engines on the same models",
            {e: [r for r in kept if r["name"] in both] for e, kept in by_engine.items()},
        ),
        ("Coppice on all that was run", {OURS: by_engine[OURS]}),
    ):
        if any(chosen.values()):
            parts += [f"## {title}\n", *([_ended(chosen)] if THEIRS in chosen else []), _sums(chosen)]
    parts += ["## Every model\n", _models(by_engine)]
    return "\n".join(parts)


def _not_run(names: Collection[str], by_ours: Collection[str], by_both: Collection[str]) -> str:
    """What the zoo holds and the table doesn't, by source."""
    sources = dict.fromkeys(name.partition("/")[0] for name in names)

    def missing(found: Collection[str]) -> str:
        counts = {source: sum(n.startswith(f"{source}/") and n not in found for n in names) for source in sources}
        return ", ".join(f"{count} of {source}" for source, count in counts.items() if count) or "none"

    return f"Not run yet, of {len(names)}: with Coppice {missing(by_ours)}; with both {missing(by_both)}.\n"


def _ended(by_engine: Mapping[str, Sequence[Row]]) -> str:
    """The seconds where neither engine ran into a limit, which the sums below count as its seconds."""
    beyond = {row["name"] for rows in by_engine.values() for row in rows if row["outcome"] == "limit"}
    took = {
        engine: sum(row.get("seconds", 0) for row in rows if row["name"] not in beyond)
        for engine, rows in by_engine.items()
    }
    return (
        f"Without the {len(beyond)} models on which one of them ran into a limit, Coppice took {took[OURS]:.0f} CPU "
        f"seconds, Torch-Pruning {took[THEIRS]:.0f}, its crashes included.\n"
    )


def _sums(by_engine: Mapping[str, Sequence[Row]]) -> str:
    head = ("family", "engine", "models", *OUTCOMES, "channels", "CPU s", "largest MiB")
    lines = []
    families = sorted({row["family"] for rows in by_engine.values() for row in rows})
    for family in [*families, "all"]:
        for engine, rows in by_engine.items():
            chosen = [row for row in rows if family in (row["family"], "all")]
            counts = [sum(row["outcome"] == outcome for row in chosen) for outcome in OUTCOMES]
            lines.append(
                (
                    f"**{family}**" if family == "all" else family,
                    engine,
                    str(len(chosen)),
                    *map(str, counts),
                    _share(chosen),
                    f"{sum(row.get('seconds', 0) for row in chosen):.0f}",
                    str(max((row["peak_mib"] for row in chosen), default=0)),
                )
            )
    return _markdown(head, lines)


def _share(rows: Iterable[Row]) -> str:
    """Of the channels that half of all inner layers are, how many went; a model that did not come through gave none."""
    could, went = 0, 0
    for row in rows:
        could += row.get("channels", 0)
        went += row.get("channels_cut", 0) if row["outcome"] in _VERIFIED else 0
    return f"{2 * went / could:.0%}" if could else ""


def _models(by_engine: Mapping[str, Sequence[Row]]) -> str:
    head = ("model", "engine", "outcome", "channels", "parameters", "MACs", "CPU s", "MiB", "why")
    by_name: dict[str, list[Row]] = defaultdict(list)
    for rows in by_engine.values():
        for row in rows:
            by_name[row["name"]].append(row)
    lines = [
        (
            name,
            row["engine"],
            row["outcome"],
            _share([row]),
            _left(row, "parameters"),
            _left(row, "macs"),
            f"{row['seconds']:.1f}" if "seconds" in row else "",
            str(row["peak_mib"]),
            _why(row),
        )
        for name, rows in sorted(by_name.items())
        for row in rows
    ]
    return _markdown(head, lines)


def _left(row: Row, what: str) -> str:
    before, after = row.get(f"{what}_before"), row.get(f"{what}_after")
    return f"{after / before:.0%}" if before and after and row["outcome"] in _VERIFIED else ""


def _why(row: Row) -> str:
    """What explains the row best: the failure, else the reasons by which most channels stayed."""
    reasons = {**row.get("refused", {}), **row.get("frozen", {})}
    told = row.get("why") or "; ".join(
        f"{reason} ({count})"
        for reason, count in sorted(reasons.items(), key=lambda each: -each[1])
        if not reason.startswith(("output of the model", "not used"))
    )
    return " ".join(str(told).split())[:160]


def _markdown(head: Sequence[str], lines: Collection[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"
