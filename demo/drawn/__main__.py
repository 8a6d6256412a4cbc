"""``python -m demo.drawn FOLDER``: a folder of drawn people."""

import argparse
import logging
import sys
from pathlib import Path

from hyperlora_core.errors import HyperLoRAError

from .folder import SIDE, write_people


def main() -> int:
    """The command; 0, or 1 where the folder cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m demo.drawn", description="Draw a folder of people who are nobody.")
    parser.add_argument("folder", type=Path, help="where to; what is there already stays")
    parser.add_argument("--people", type=int, default=100, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--photos", type=int, default=3, metavar="N", help="of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another one draws other people (%(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first person (%(default)s)")
    parser.add_argument("--side", type=int, default=SIDE, metavar="N", help="pixels of a photo's side (%(default)s)")
    args = parser.parse_args()
    for name in ("people", "photos", "side"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}: 1 or more was expected")
    if args.seed < 0 or args.first < 0:
        parser.error("--seed and --first are 0 or more")
    try:
        write_people(args.folder, args.seed, args.people, args.photos, args.first, args.side)
    except HyperLoRAError as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
