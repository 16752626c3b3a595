"""Channels as labels: one integer per position of every axis of every tensor.

Here are the ledger in which a trace writes what belongs together, and the groups that come of it. Nothing here knows
of tensors' values or of any framework: numpy and scipy only.
"""

from coppice.channels.groups import Channels, Frozen, Group, Slots
from coppice.channels.ledger import Axes, Labels, Ledger, Role
from coppice.channels.shares import FIXED, Bundle

__all__ = ["FIXED", "Axes", "Bundle", "Channels", "Frozen", "Group", "Labels", "Ledger", "Role", "Slots"]
