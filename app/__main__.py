"""`python -m app`: the command line."""

import sys

from app.cli import main
from app.core.collector import rest_while_importing

if __name__ == "__main__":
    rest_while_importing()
    sys.exit(main())
