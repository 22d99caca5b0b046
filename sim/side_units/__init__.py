"""Side units: ranking, transforms and their memory port, analytic models by rates (no RTL describes them)."""
