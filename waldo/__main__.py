"""`python -m waldo` is `waldo`."""

import sys

from waldo.cli import main

sys.exit(main())
