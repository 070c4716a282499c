"""`python -m powerlift_fleet.cli`."""

from powerlift_fleet.cli.main import main

main()
