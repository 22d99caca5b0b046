"""Units beside the array, declared by rates (no RTL describes them): ranking, transforms, their memory port."""
