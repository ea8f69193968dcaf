"""Where fastprune keeps files of its own for a user, by the XDG base directory specification.

Found without platformdirs: that takes 10 ms of each command, and before version 4.14 it obeys a
path that is not absolute.
"""

from __future__ import annotations

import os


def user_folder(variable: str, usual: str) -> str:
    """The folder of fastprune among those of a kind; empty if the user has no home folder.

    Args:
        variable: The environment variable that names the folder of all programs.
        usual: The path of that folder in the home folder, if the variable names none.
    """
    folder = os.environ.get(variable, "")
    # The specification: a relative path is to be ignored.
    if not os.path.isabs(folder):
        folder = os.path.join(os.path.expanduser("~"), usual)
    return os.path.join(folder, "fastprune") if os.path.isabs(folder) else ""
