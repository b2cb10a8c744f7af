from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from docs.handbook.markdown import ROOT


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory, for_all_workers: Callable[[str], AbstractContextManager[Path]]
) -> Path:
    """The built site; fails with what MkDocs warned of."""
    with for_all_workers("site") as folder:
        if not folder.exists():
            built = tmp_path_factory.mktemp("site")
            done = subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(built)],
                cwd=ROOT,
                env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # advertisement of the theme's successor
                capture_output=True,
                text=True,
                check=False,
            )
            assert (0, "") == (done.returncode, done.stderr)
            built.rename(folder)
    return folder
