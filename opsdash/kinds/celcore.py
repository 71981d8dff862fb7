"""The compiled part of the package `common-expression-language`, without the rest of it.

`import cel` runs the package's own command line as well, and with it typer, rich and prompt_toolkit: a sixth of a
second and 11 MB that nothing here uses, at every start of an engine. So the extension module is loaded from its file.
It is entered under its own name, since such a module can be initialised only once in a process: whoever imports `cel`
later gets the same one.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from typing import Any

_PACKAGE = "cel"
_EXTENSION = "cel.cel"


def _load() -> Any:
    loaded = sys.modules.get(_EXTENSION)
    package = importlib.util.find_spec(_PACKAGE) if loaded is None else None
    if package is None:
        return loaded or importlib.import_module(_PACKAGE)
    spec = PathFinder.find_spec(_EXTENSION, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return importlib.import_module(_PACKAGE)  # another layout: then all of it
    module = importlib.util.module_from_spec(spec)
    sys.modules[_EXTENSION] = module
    spec.loader.exec_module(module)
    return module


_core = _load()
compile_program = _core.compile
Context = _core.Context
