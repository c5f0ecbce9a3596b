"""Programs of other people, from Debian's packages, timed in Debian under both emulators."""
