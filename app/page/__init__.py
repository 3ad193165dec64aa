"""The Gradio page: one file a tab, mounted on the API's application."""
