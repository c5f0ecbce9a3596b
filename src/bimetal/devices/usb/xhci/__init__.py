"""The xHCI host controller (eXtensible Host Controller Interface for USB, revision 1.1)."""
