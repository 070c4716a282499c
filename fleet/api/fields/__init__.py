"""The fields of a request: their types, with normalisation, and the rules between them."""
