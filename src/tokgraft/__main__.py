import sys

from tokgraft.cli import main

sys.exit(main())
