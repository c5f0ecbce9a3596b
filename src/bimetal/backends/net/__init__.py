"""Networks: what is at the far end of a NIC's cable."""
