"""From a record to a page: the templates, and how they write numbers.

Whatever a page says of a model comes from a file of a stranger: every value is escaped, and the page's own policy
forbids scripts and everything from elsewhere, should one slip through.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from coppice.pages.repeat import command_line, curl
from coppice.pages.sweep import of_sweep
from coppice.pages.view import of_report
from coppice.records.figures import significant
from coppice.records.report import Account, Inspection, Report
from coppice.records.sweep import Sweep


def _nothing_more(_: Account) -> dict[str, object]:
    return {}


#: Kind of account -> its template, and what that takes beside the account.
TEMPLATES: Mapping[type[Account], tuple[str, Callable[[Any], dict[str, object]]]] = {
    Report: ("report.html", of_report),
    Inspection: ("inspection.html", _nothing_more),
    Sweep: ("sweep.html", of_sweep),
}


#: What ties an element of a page to another.
_IDS = re.compile(r' (id|aria-labelledby)="([a-z-]+)"')


def render(account: Account) -> str:
    """The account as one page of HTML."""
    return _rendered(account, "base.html")


def render_cell(account: Account) -> str:
    """The account as what a notebook shows below a cell: its figures, and the rest of the page to unfold.

    Its styles reach nothing else, and its ids are those of no other account.
    """
    cell = _rendered(account, "notebook.html")
    own = hashlib.sha256(cell.encode()).hexdigest()[:8]
    return _IDS.sub(rf' \1="coppice-{own}-\2"', cell)


def _rendered(account: Account, layout: str) -> str:
    template, view = TEMPLATES[type(account)]
    return _ENVIRONMENT.get_template(template).render(
        view(account),
        layout=layout,
        # Of a sweep its points are what one looks for; of the others the figures, which stand first.
        open=isinstance(account, Sweep),
        account=account,
        command=command_line(account.request),
        curl=curl(account.request),
        request=account.request.model_dump_json(indent=2, exclude_defaults=True),
    )


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _share(part: float | None) -> str:
    """As per cent."""
    return "" if part is None else f"{part:.1%}"


def _figure(number: float | None) -> str:
    """Three digits that count."""
    return "" if number is None else significant(number)


def environment() -> Environment:
    """A place for templates, with the ways to write numbers."""
    made = Environment(
        loader=PackageLoader("coppice.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"whole": _whole, "share": _share, "figure": _figure}
    return made


_ENVIRONMENT = environment()
