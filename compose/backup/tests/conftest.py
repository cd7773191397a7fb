"""The package lies beside the tests, as it does in the image."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
