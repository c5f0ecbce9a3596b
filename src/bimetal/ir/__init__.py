"""The intermediate representation: what a description says once its Python has been traced."""
