"""Where it runs: the JSON API, the Gradio demo, and what a host needs to start them."""
