"""Accounts as pages: one HTML file each that needs nothing else, neither scripts nor network."""

from coppice.pages.render import render

__all__ = ["render"]
