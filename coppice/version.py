"""The version of Coppice, from the installed package."""

from importlib.metadata import version

__version__ = version("coppice")
