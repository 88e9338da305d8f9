"""Makes docs/demo.svg, the README's picture: a real run of the demo, recorded."""

import re
import sys
from pathlib import Path

from rich.console import Console

from autoheal.app.demo import run

if __name__ == "__main__":
    console = Console(record=True, width=106, highlight=False, force_terminal=True)
    status = run(once=True, port=None, console=console)
    drawn = console.export_svg(title="autoheal demo --once")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)  # no font from elsewhere
    (Path(__file__).parent.parent / "docs" / "demo.svg").write_text(drawn)
    sys.exit(status)
