"""Tell mail that no person wrote: out-of-office, lists, reports, anything with a null return path.

*Standards:* RFC 3834 §2 and §5 (Auto-Submitted), RFC 2919 and 2369 (lists), RFC 6522 (reports),
RFC 5321 §4.5.5 (null return path); Precedence and the X-fields are custom, not standard.
"""

from gateway.mail.parse import Mail

_BULK = frozenset({"bulk", "junk", "list", "auto_reply"})
_ROBOTS = frozenset({"mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply"})
_ANY_VALUE = ("x-autoreply", "x-autorespond", "x-auto-reply", "x-mail-autoreply", "x-failed-recipients", "feedback-id")
_LIST_FIELDS = ("list-id", "list-post", "mailing-list")


def why_automatic(mail: Mail, return_path: str) -> str:
    """Return in a few words why `mail` is automatic, or "" when a person wrote it.

    `return_path` is the envelope's, without angle brackets; "" is the null return path.
    """
    header = mail.header
    submitted = header.first("auto-submitted").partition(";")[0].strip().lower()
    if submitted and submitted != "no":
        return f"Auto-Submitted: {submitted[:40]}"
    if header.first("content-type").lower().startswith("multipart/report"):
        return "a report"
    if not return_path:
        return "null return path"
    for name in _ANY_VALUE:
        if header.first(name):
            return f"{name} is set"
    precedence = header.first("precedence").strip().lower()
    if precedence in _BULK:
        return f"Precedence: {precedence}"
    for name in _LIST_FIELDS:
        if header.first(name):
            return f"{name} is set"
    if mail.author and mail.author.address.local.lower() in _ROBOTS:
        return f"from {mail.author.address.local.lower()}"
    return ""
