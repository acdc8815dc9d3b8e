"""`python -m gatebook_servers` is the `gatebook` command."""

import sys

from gatebook_servers.cli import main

sys.exit(main())
