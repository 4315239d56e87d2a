"""The policies in the box: one file each, imported as `collab.policies.NAME`."""
