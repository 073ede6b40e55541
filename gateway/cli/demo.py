"""demo: the story of a sales team, played against a real node on loopback."""

from gateway.cli.app import app


@app.command
def demo() -> None:
    """Play the story against a real node."""
