"""Replygate: an e-mail gateway that keeps every quotation, lead and invoice a thread in people's mail."""

__version__ = "0.1.0"
