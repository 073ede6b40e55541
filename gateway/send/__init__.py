"""From the outbox to the next hop: speaks to it, and decides when to."""
