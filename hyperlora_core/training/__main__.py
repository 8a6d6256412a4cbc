"""``python -m hyperlora_core.training``: what ``hyperlora train`` is."""

import sys

from ..cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
