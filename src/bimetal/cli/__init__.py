"""The command line, first user of the public interface."""
