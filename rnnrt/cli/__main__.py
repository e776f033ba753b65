"""``python -m rnnrt.cli``."""

from . import main

main()
