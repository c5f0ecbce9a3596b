"""Machines made from a few words, as virt-install has them: storage, a definition, a first start
from an installer's media."""
