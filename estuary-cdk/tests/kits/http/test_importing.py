"""What importing the kit costs."""

import subprocess
import sys


def test_the_network_is_loaded_by_those_who_use_it() -> None:
    code = "import sys, estuary_cdk.kits.http; sys.exit('aiohttp' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
