"""From an event to mails in the outbox: who hears of it, and what they read."""
