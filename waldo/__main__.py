"""`python -m waldo` is `waldo`."""

import sys

from waldo.cli.main import main

sys.exit(main())
