"""The measured claims of the README, each printed as ratios from one run."""
