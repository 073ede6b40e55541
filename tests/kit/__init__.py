"""What tests need and no user does: a node to start, a next hop that misbehaves, a client, stories."""
