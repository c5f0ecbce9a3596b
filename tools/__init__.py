"""Small programs for the people who work here."""
