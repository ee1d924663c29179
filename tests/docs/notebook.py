"""The notebook: executed from top to bottom in a fresh kernel, and stored without what differs between machines.

``python -m tests.docs.notebook`` executes docs/project_2.ipynb and stores what its cells really print and draw.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "project_2.ipynb"
TIMEOUT = 600  # s for one cell: the first run ever compiles the kernels


def execute(path: Path = NOTEBOOK) -> NotebookNode:
    """Execute a notebook in its own folder, with this Python and without anybody's Jupyter or IPython settings.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        When a cell ends with an error, a wrong ``assert`` among them.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTER_PLATFORM_DIRS": "1",
            "NUMBA_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **dict.fromkeys(("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"), scratch),
        }
        # a short name, because a socket's must be short; no port is opened
        config = Config({"KernelManager": {"transport": "ipc", "connection_file": f"{scratch}/kernel.json"}})
        with mock.patch.dict(os.environ, settings):
            for name in ("MPLBACKEND", "PYTHONWARNINGS", "JUPYTER_PATH"):
                os.environ.pop(name, None)
            client = NotebookClient(
                notebook,
                timeout=TIMEOUT,
                kernel_name="python3",
                coalesce_streams=True,
                resources={"metadata": {"path": str(path.parent)}},
                config=config,
            )
            client.execute()
    return notebook


def lasting(notebook: NotebookNode) -> NotebookNode:
    """The notebook without times and versions."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = {}
    return notebook


def texts(cell: NotebookNode) -> list[str]:
    """Lines that a cell has printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream").splitlines()


if __name__ == "__main__":
    nbformat.write(lasting(execute()), NOTEBOOK)
