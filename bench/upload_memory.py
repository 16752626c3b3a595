"""Peak memory of the API process while it takes one upload: `python bench/upload_memory.py [GIB]`.

The real process, over https, fed by the real curl from a sparse file; the peak is the kernel's own (VmHWM).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1024 * 1024
#: What issue 2 allows, MiB.
ALLOWED_MIB = 200


def main(gibibytes: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.h5"
        with model.open("wb") as file:
            file.truncate(int(gibibytes * 1024 * MIB))
        environment = {
            **os.environ,
            "COPPICE_DATA_DIR": f"{folder}/data",
            "COPPICE_PORT": "0",
            "COPPICE_MAX_UPLOAD_BYTES": str(model.stat().st_size + MIB),
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "coppice.http"], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            match = re.search(r"https://\S+", server.stdout.readline())
            assert match is not None
            before, begun = _peak_mib(server.pid), time.monotonic()
            call = ["curl", "-sfk", "-F", f"model=@{model}", f"{match[0]}/api/tf_prune?percent=0.5"]
            answer = subprocess.run(call, check=True, capture_output=True, text=True).stdout
            seconds, peak = time.monotonic() - begun, _peak_mib(server.pid)
        finally:
            server.terminate()
            server.wait()
    print(answer)
    print(f"{gibibytes:g} GiB in {seconds:.1f} s: peak {peak} MiB, {before} MiB before it")
    return 0 if peak < ALLOWED_MIB else 1


def _peak_mib(pid: int) -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) // 1024


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2))
