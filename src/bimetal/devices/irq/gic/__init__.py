"""Arm's generic interrupt controllers: versions 2 (IHI 0048) and 3 (IHI 0069)."""
