"""The built-in policies: one file each, imported as `collab.policies.NAME`."""
