"""The system registers, by what they are for (D17)."""
