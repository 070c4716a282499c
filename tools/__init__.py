"""Development tasks: set-up of the environment, release, supply-chain audit."""
