"""Starts one plugin: `python -I …/toolchain/plugins/__main__.py language|random|command [ARGUMENTS] ENGINE_ADDRESS`."""

import importlib
import sys
from pathlib import Path

# `-I` keeps the operator's modules out, and this folder too.
sys.path.insert(0, str(Path(__file__).parents[2]))
importlib.import_module("toolchain.plugins.stubs")  # before anything imports pulumi
importlib.import_module(f"toolchain.plugins.{sys.argv[1]}").main(sys.argv[2:])
