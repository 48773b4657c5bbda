"""`python -m awb` is the command line."""

from awb.cli import main

raise SystemExit(main())
