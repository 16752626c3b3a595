"""The command `coppice`: arguments in, records to the engine or to a service, tables out.

Nothing here knows how a model is pruned; `local` is the one module that calls the engine.
"""

from coppice.cli.app import main

__all__ = ["main"]
