"""`python -m mtls_auth.cli`: the same as `mtls-auth`."""

import sys

from mtls_auth.cli import main

sys.exit(main())
