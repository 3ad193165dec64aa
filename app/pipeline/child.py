"""What a step runs in: the `foretaste` command, bound to the life of the run that started it.

A step is killed when its run is, also by `kill -9`, so that nobody writes beside the run that goes on
afterwards; what a command saved by then is its own, and it resumes from there.
"""

from __future__ import annotations

import sys

from foretaste.serving.child import die_with_parent


def main() -> None:
    """Run `foretaste` with the arguments of this process."""
    from foretaste.app.cli import main as command

    sys.argv[0] = "foretaste"
    command()


if __name__ == "__main__":
    die_with_parent()
    main()
