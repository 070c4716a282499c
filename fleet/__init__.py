"""What a fleet is: its request, names, bodies on the wire, failures. Knows no Azure Functions."""
