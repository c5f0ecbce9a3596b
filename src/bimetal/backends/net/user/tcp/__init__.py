"""TCP towards the guest (RFC 9293): one connection there, one socket of the host here."""
