"""The version of fastprune.

Stage: all. A value; pure.
"""

from __future__ import annotations

__version__ = "0.1.0"
