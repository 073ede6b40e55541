"""Stores in which nothing stands yet: the migrations run once for all tests of a process."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.store import schema
from gateway.store.session import Store, open_store


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        store = open_store("sqlite:///x.db", Path(folder))
        schema.upgrade(store)
        store.close()
        return (Path(folder) / "x.db").read_bytes()


def put_new(file: Path) -> None:
    """Put a migrated SQLite file here, unless there is one."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_migrated())


def new_store(folder: Path, name: str = "var/x.db") -> Store:
    """Open a migrated store in a folder; the one that is there already as it stands."""
    put_new(folder / name)
    return open_store(f"sqlite:///{name}", folder)
