"""``python -m hyperlora_core.training``: what ``hyperlora train`` is."""

import sys

from .command import main

sys.exit(main())
