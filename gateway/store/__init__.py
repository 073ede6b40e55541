"""What we remember; the only room that says SQL, and the corridor through which the others meet."""
