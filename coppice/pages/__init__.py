"""Accounts as pages: one HTML file each that needs nothing else, neither scripts nor network."""

from coppice.pages.error import render_error, render_errors
from coppice.pages.render import render, render_cell

__all__ = ["render", "render_cell", "render_error", "render_errors"]
