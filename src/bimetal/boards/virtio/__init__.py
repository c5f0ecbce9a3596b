"""The virtio devices that a machine's options ask for. Each kind has a file, which is imported when
a machine wants one: their far ends (images, networks, folders) are most of what there is to import.
"""
