"""What a machine has that a search needs. It stands alone: its text is sent to the Python of another machine too."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from typing import Optional

__all__ = ["num_gpus", "version_of"]


def num_gpus() -> int:
    """Return how many NVIDIA GPUs the machine's driver lists."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)  # noqa: S603  fixed words
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def version_of(distribution: str) -> Optional[str]:  # noqa: UP045  it may meet an older Python
    """Return the version of an installed package, None when it is absent."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    facts = {
        "maskkit": version_of("maskkit"),
        "nni": version_of("nni"),
        "gpus": num_gpus(),
        "missing": [path for path in sys.argv[1:] if not os.path.exists(os.path.expanduser(path))],  # noqa: PTH110, PTH111
    }
    print(json.dumps(facts))
