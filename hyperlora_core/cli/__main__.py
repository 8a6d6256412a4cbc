"""``python -m hyperlora_core.cli``: what ``hyperlora`` is."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
