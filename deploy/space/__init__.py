"""The demo as a Hugging Face Space: its card, and the script that puts its folder together."""
