"""An answer as steps: what is sent, when, and how it ends."""
