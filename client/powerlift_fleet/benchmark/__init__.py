"""What the executor and `run_experiment` need of benchmarks: their functions, results and arguments."""
