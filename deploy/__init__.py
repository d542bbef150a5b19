"""Deployment: the JSON API, the Gradio demo, and the configuration that a host needs to start them."""
