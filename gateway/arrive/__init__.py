"""From the wire to a durable arrival; whatever a mail says, it does not matter here."""
