"""Makes the small networks of tests/graph importable here."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "graph"))
