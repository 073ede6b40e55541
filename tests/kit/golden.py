"""Tables that a person reviewed: a run with `REPLYGATE_GOLDEN=write` writes them anew, for the next review."""

import os
from pathlib import Path

REWRITE = "REPLYGATE_GOLDEN"


def compare(path: Path, text: str) -> None:
    """Compare `text` with the file at `path`, or write it where the environment asks for that."""
    if os.environ.get(REWRITE) == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return
    assert path.exists(), f"{path.name} was never written: {REWRITE}=write, then review it"
    assert text.splitlines() == path.read_text("utf-8").splitlines()
