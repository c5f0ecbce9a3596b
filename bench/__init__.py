"""Speed beside other emulators."""
