"""What is true of e-mail anywhere: pure, no I/O."""
