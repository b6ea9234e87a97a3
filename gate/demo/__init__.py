"""The demo: an embedded base model, its data, three training configs, and the table they make."""
