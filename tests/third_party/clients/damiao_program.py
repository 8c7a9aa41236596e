"""The command line of damiao-motor; arguments: the channel, then those of the command."""

import sys

import multicast

multicast.use(sys.argv[1])
from damiao_motor.cli import unified_main  # noqa: E402

sys.argv = ["damiao", *sys.argv[2:]]
sys.exit(unified_main())
