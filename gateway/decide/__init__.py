"""From an arrival, or an event, to its place in a thread."""
