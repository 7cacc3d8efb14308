"""Tables, analyses, figures and the demo from finished runs, the benchmark, and long checks."""
