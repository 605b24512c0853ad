"""Prints the lowest versions that setup.cfg allows, as constraints for pip: `make lowest` tests with these."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

_LOWEST = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)")


def lowest(text: str) -> list[str]:
    """Get a constraint for each package of a setup.cfg that names a lowest version.

    Example:
        >>> lowest("[options]\\ninstall_requires =\\n    pykka>=4.5,<5\\n    sseclient-py>=1.9\\n")
        ['pykka==4.5', 'sseclient-py==1.9']
    """
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(text)
    lists = [config["options"]["install_requires"]]
    if config.has_section("options.extras_require"):
        lists += config["options.extras_require"].values()
    found = {match[1]: match[2] for lines in lists for match in map(_LOWEST.match, lines.split()) if match}
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest(Path("setup.cfg").read_text())) + "\n")
