"""How work comes in: parse, authorise, start, answer."""
