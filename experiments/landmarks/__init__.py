"""Tables of landmark models: Meta-CSKT, its ablation and its baselines on the same faces."""
