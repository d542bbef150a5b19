"""How a network learns: data, pipeline, freeze boundary, the two phases, evaluation and reports."""
