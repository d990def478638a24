"""Open, read and check 100,000 mutated disk images: none may crash, hang, or read outside its bounds.

The everyday tests run the same with few images. Another seed: INNKEEPER_FUZZ_SEED=2.
"""

from __future__ import annotations

import os
import subprocess
import sys

IMAGES = 100_000


def main() -> int:
    """Run the test of that name, long."""
    command = [sys.executable, "-m", "pytest", "-q", "-o", "timeout=3600", "tests/disks/test_fuzz.py"]
    return subprocess.run(command, env=os.environ | {"INNKEEPER_FUZZ": str(IMAGES)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
