"""``python -m rnnrt``."""

from .cli import main

main()
