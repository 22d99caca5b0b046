"""The command line. Heavy libraries are imported only by commands that need them, so ``carat --help`` is fast."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from sim.base.errors import CaratError
from sim.base.text import printable
from sim.base.version import code_version
from sim.cli import common

REFUSED = 2
"""Exit code of refused input, as for a wrong option."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + the number of the signal, as shells do."""

FAULT = 70
"""Exit code of an internal error (EX_SOFTWARE of sysexits.h)."""

DEBUG_VARIABLE = "CARAT_DEBUG"
"""Environment variable: show the traceback of a fault."""

PLUGINS_VARIABLE = "PYDANTIC_DISABLE_PLUGINS"
"""Environment variable of pydantic: switches off its search for plugins in every installed package.

No table needs one.
"""

BLAS_VARIABLE = "OPENBLAS_THREAD_TIMEOUT"
"""Environment variable of numpy's OpenBLAS: its threads spin for 2**N cycles (26: 25 ms of CPU) before they sleep."""

SELDOM = 50_000
"""New objects between two runs of the garbage collector (Python: 700): a start makes 100,000 that stay."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process. Refused input: message on stderr, exit code 2, no traceback.

    Any other error is a fault of Carat: one line that says so, exit code 70. `DEBUG_VARIABLE` shows the traceback.
    """
    os.environ.setdefault(PLUGINS_VARIABLE, "__all__")
    if arguments is None:
        _own_process()
    try:
        _open_outputs()
        from sim.cli.app import app_for  # typer; inside the handler, so that Ctrl-C while it loads ends in one line

        common.typed[:] = sys.argv[1:] if arguments is None else arguments
        try:
            app_for(common.typed)(args=list(common.typed), prog_name="carat")
        finally:
            sys.stdout.flush()
    except CaratError as error:
        _end(str(error), REFUSED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _end("", REFUSED)
    except MemoryError:
        _end("out of memory; use a smaller workload, fewer --jobs or a higher memory limit of this process", REFUSED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else "an output or the current folder: "
        _end(f"{where}{error.strerror or error}", REFUSED)
    except Exception as error:  # any other error: the user gets one line
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _end(
            f"this is a fault of carat ({_version()}), not of the input: {type(error).__name__}: {error}\n"
            f"carat: please report it with the command and its files; {DEBUG_VARIABLE}=1 shows where it happened",
            FAULT,
        )


def _own_process() -> None:
    """Set up a process that runs one command and ends; saves a sixth of the CPU time of a short run."""
    os.environ.setdefault(BLAS_VARIABLE, "4")
    gc.set_threshold(SELDOM, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # the interpreter's own shutdown would collect the garbage of all modules


def _open_outputs() -> None:
    """Replace a closed output by the null device and report that its text is lost."""
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if sys.stdout is None:
        sys.stderr.write("carat: stdout is closed: nothing is printed there\n")
        sys.stdout = io.StringIO()


def _end(message: str, code: int) -> None:
    """End the process with a message; closed outputs are left alone."""
    with suppress(OSError, ValueError):
        if message:
            sys.stderr.write(f"carat: {printable(message)}\n")
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # the interpreter would flush again at its end, and print a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _version() -> str:
    return f"version {code_version()}"
