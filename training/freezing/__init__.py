"""The freeze boundary: where the graph is cut, the frozen forward pass, its cached activations, and what trains behind it."""
