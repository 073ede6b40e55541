import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real mails beside the project; in CI a missing one is a failure."""
    folder = ROOT.parent / "shared" / "corpora"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is missing: the corpora must be there in CI")
        pytest.skip(f"{folder} is missing: this was NOT tested on real mails")
    return folder


@pytest.fixture(scope="session")
def real_mails(corpora) -> list[Path]:
    """Every file of the corpora, in order."""
    files = sorted(path for path in corpora.rglob("*") if path.is_file())
    assert len(files) > 250
    return files
